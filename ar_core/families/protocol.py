"""A family's token ids, and the image sizes it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from .layout import Layout

Size = tuple[int, int]  # width, height in pixels


@dataclass(frozen=True)
class Protocol:
    """How a prompt and an image become one sequence of token ids."""

    instruction: str  # has {width}, {height} and {prompt}
    begin: int
    turn_end: int
    image_start: int
    image_end: int
    row_end: int
    size_base: int  # the token of a side of n pixels is size_base + n / size_unit
    size_unit: int
    code_base: int  # code i is token code_base + i
    codes: int
    factor: int  # pixels per code along one side
    identifier_base: int  # unused reserved tokens that learned vectors may take
    identifiers: int
    first_text: int  # lower ids are control tokens, which a user's text must not contain
    sizes: tuple[Size, ...]

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of codes for a (width, height)."""
        return size[1] // self.factor, size[0] // self.factor

    def layout(self, size: Size) -> Layout:
        """Where the codes of a (width, height) stand in the stream of tokens."""
        rows, columns = self.grid(size)
        return Layout(rows, columns, self.row_end)

    def header(self, size: Size) -> list[int]:
        """Start of an image block: start token, then height, then width."""
        width, height = size
        return [self.image_start, self.size_base + height // self.size_unit, self.size_base + width // self.size_unit]

    def image_block(self, codes: list[list[int]], size: Size) -> list[int]:
        """The whole block of an image, from start token to end token; `codes` is its grid of codes."""
        rows, columns = self.grid(size)
        if len(codes) != rows or any(len(row) != columns for row in codes):
            raise ValueError(f"An image of {size[0]}x{size[1]} needs {rows} rows of {columns} codes.")
        body = [token for row in codes for token in [*(self.code_base + code for code in row), self.row_end]]
        return [*self.header(size), *body, self.image_end]

    def snap(self, width: int, height: int) -> Size:
        """The allowed size closest to the wish: first in aspect ratio, then in area."""

        def distance(size: Size) -> tuple[float, int]:
            ratio = (size[0] / size[1]) / (width / height)
            return round(max(ratio, 1 / ratio), 3), abs(size[0] * size[1] - width * height)

        return min(self.sizes, key=distance)


def frontier(target: int, unit: int = 32, max_aspect: float = 4.0) -> tuple[Size, ...]:
    """Every (width, height) on the staircase of largest areas not above target², for aspects up to `max_aspect`.

    49, 73 and 97 sizes for 512, 768 and 1024, as upstream trains on.
    """
    area = (target // unit) ** 2
    sizes = []
    for columns in range(area, 0, -1):
        for rows in range(max(1, area // (columns + 1)), area // columns + 1):
            if max(columns / rows, rows / columns) <= max_aspect:
                sizes.append((columns * unit, rows * unit))
    return tuple(sizes)
