"""A family's token protocol: how a prompt and a picture become one sequence of token ids.

`Family.bind` makes one from a tokenizer, in which every id is looked up by name. The sequence of one picture is

    prompt                     stream (`Layout`)
    begin, human turn, header  codes of a row, row end, codes of a row, ..., image end

and the unguided row of classifier-free guidance is what `unguided` makes of its prompt. Fields that are None stand for
tokens that a family does not have. A family whose prompts are put together differently overrides `prompt` or `unguided`
in a subclass in its own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..quoting import quoted
from ..text import Identifier, TextError, TextTokenizer, split_at_identifiers
from .layout import Layout

Size = tuple[int, int]  # width, height in pixels
LONGEST_PROMPT = 1024  # tokens; far more than any caption a model was trained on


@dataclass(frozen=True, eq=False)
class Protocol:
    """Token ids of one model. Codes and identifiers are ids in a row."""

    text: TextTokenizer
    instruction: str  # has {prompt}, may have {width} and {height}; control tokens in it count as such
    begin: int
    turn_end: int | None
    image_start: int
    image_end: int | None
    row_end: int | None
    size_base: int | None  # the token of a side of n pixels is size_base + n / size_unit
    size_unit: int
    code_base: int  # code i is token code_base + i
    codes: int
    factor: int  # pixels per code along one side
    identifier_base: int  # unused reserved tokens whose place learned vectors may take
    identifiers: int
    control: frozenset[int]  # tokens that a user's text must not contain

    # ---------------------------------------------------------------- the prompt

    def is_control(self, token: int) -> bool:
        """Whether the model reads `token` as anything but text."""
        return token in self.control

    def encode(self, text: str) -> list[int]:
        """Token ids of a user's text. Raises TextError where it spells a control token."""
        ids = []
        for token, piece in self.text.tokens(text):
            if self.is_control(token):
                raise TextError(
                    f"The prompt contains {quoted(piece)}, which the model reads as a control token. "
                    "Remove it from the prompt."
                )
            ids.append(token)
        return ids

    def prompt(self, text: str, size: Size, identifiers: Sequence[Identifier] = ()) -> list[int]:
        """All ids before the first code: the begin token, the human turn around `text`, the picture's header.

        The name of each identifier in `text` becomes its reserved tokens, and those of its image concept stand directly
        before the header, where `unguided` cuts. `text` must be final (see `text.resolve_prompt`). Raises TextError
        where it spells a control token or is longer than `LONGEST_PROMPT`.
        """
        width, height = size
        before, after = self.instruction.split("{prompt}")
        pieces = split_at_identifiers(text, identifiers)
        for piece in pieces:
            if isinstance(piece, str):
                self.encode(piece)  # refuses control tokens, which the instruction may have
        ids = [self.begin]
        for index, piece in enumerate(pieces):
            if isinstance(piece, Identifier):
                ids += piece.ids
                continue
            if index == 0:
                piece = before.format(width=width, height=height) + piece
            if index == len(pieces) - 1:
                piece += after.format(width=width, height=height)
            else:
                piece = piece.rstrip(" ")  # a vector stands for a word with the space before it
            ids += [token for token, _ in self.text.tokens(piece)]
        if self.turn_end is not None:
            ids.append(self.turn_end)
        for named in dict.fromkeys(piece for piece in pieces if isinstance(piece, Identifier)):
            ids += named.image_ids
        if len(ids) > LONGEST_PROMPT:
            raise TextError(f"The prompt has {len(ids)} tokens; at most {LONGEST_PROMPT} are read. Shorten it.")
        return ids + self.header(size)

    def header(self, size: Size) -> list[int]:
        """Start of an image: the start token and, where the family has size tokens, height and then width."""
        if self.size_base is None:
            return [self.image_start]
        width, height = size
        return [self.image_start, self.size_base + height // self.size_unit, self.size_base + width // self.size_unit]

    def unguided(self, prompt: Sequence[int]) -> list[int]:
        """The row without the prompt, for classifier-free guidance; positions in it start at 0.

        `prompt`: a row that `prompt` made. What remains of it here is the header, as Lumina-mGPT was trained with.
        """
        return list(prompt[self.concept_position() :])

    def concept_position(self) -> int:
        """Where one more token for a concept goes into a prompt, counted from its end: directly before the header."""
        if self.size_base is None:
            return -1
        return -3

    # ---------------------------------------------------------------- the picture

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of codes for a (width, height)."""
        return size[1] // self.factor, size[0] // self.factor

    def layout(self, size: Size) -> Layout:
        """Where the codes of a picture stand in the stream behind its prompt."""
        return Layout(*self.grid(size), self.row_end)

    def image_block(self, codes: Sequence[Sequence[int]], size: Size) -> list[int]:
        """What follows a prompt in training: `codes`, rows of a picture of `size`, with their ends and the image's.

        Raises ValueError where the rows do not fit the size.
        """
        layout = self.layout(size)
        if len(codes) != layout.rows or any(len(row) != layout.columns for row in codes):
            raise ValueError(f"An image of {size[0]}x{size[1]} needs {layout.rows} rows of {layout.columns} codes.")
        block = []
        for row in codes:
            block += [self.code_base + code for code in row]
            if self.row_end is not None:
                block.append(self.row_end)
        if self.image_end is not None:
            block.append(self.image_end)
        return block


def nearest_size(sizes: Sequence[Size], width: int, height: int) -> Size:
    """The one of `sizes` closest to the wish: first in aspect ratio, then in area."""

    def distance(size: Size) -> tuple[float, int]:
        ratio = (size[0] / size[1]) / (width / height)
        return round(max(ratio, 1 / ratio), 3), abs(size[0] * size[1] - width * height)

    return min(sizes, key=distance)


def size_frontier(target: int, unit: int = 32, max_aspect: float = 4.0) -> tuple[Size, ...]:
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
