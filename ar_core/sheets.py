"""Pictures made of pictures: labelled grids and loss curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (255, 255, 255)
INK = (30, 30, 36)
FAINT = (150, 150, 160)
RULE = (232, 232, 236)  # lines behind a curve
LINES = ((44, 98, 208), (214, 88, 49), (66, 160, 71), (130, 66, 180))  # one colour per curve
GAP = 10  # pixels
TEXT_LINE = 20  # pixels from one line of small text to the next
LEGEND = 200  # pixels from one curve's name to the next
HEAD_LINE = 22  # the same above a column
HEAD_LINES = 3  # above a column at most

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def sheet_font(size: int) -> Font:
    """Pillow's own, in any size; Pillow before 10.1 has it in one size."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()


def drawable(text: str, face: Font) -> str:
    """`text` as far as the font has its letters: the one of a Pillow without FreeType has those of Latin-1."""
    if isinstance(face, ImageFont.FreeTypeFont):
        return text
    return text.encode("latin-1", "replace").decode("latin-1")


def shorten_text(text: str, width: int, face: Font) -> str:
    """`text` on one line of at most `width` pixels, with an ellipsis where it is cut."""
    text = " ".join(drawable(text, face).split())
    if face.getlength(text) <= width:
        return text
    mark = "..."
    if isinstance(face, ImageFont.FreeTypeFont):
        mark = "…"
    return text[: _letters_that_fit(text, width, face, mark)].rstrip() + mark


def wrap_text(text: str, width: int, face: Font, most: int | None = None) -> list[str]:
    """`text` in lines no wider than `width` pixels; a longer word is broken. After `most` lines the rest is cut."""
    lines = []
    line = ""
    for word in _broken_words(drawable(text, face), width, face):
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    if most is not None and len(lines) > most:
        rest = " ".join(lines[most - 1 :])
        lines = [*lines[: most - 1], shorten_text(rest, width, face)]
    return lines


def _broken_words(text: str, width: int, face: Font) -> Iterator[str]:
    """The words of `text`, those that are wider than `width` in pieces."""
    for word in text.split():
        while face.getlength(word) > width and len(word) > 1:
            fitting = max(1, _letters_that_fit(word, width, face))
            yield word[:fitting]
            word = word[fitting:]
        if word:
            yield word


def _letters_that_fit(text: str, width: int, face: Font, mark: str = "") -> int:
    """How many letters of `text`, with `mark` behind them, are at most `width` pixels wide."""
    fitting = 0
    step = 1 << len(text).bit_length()
    while step:  # by halves, as a text may be long
        longer = fitting + step
        if longer <= len(text) and face.getlength(text[:longer] + mark) <= width:
            fitting = longer
        step //= 2
    return fitting


def picture_grid(
    rows: Sequence[Sequence[Image.Image]],
    *,
    cell: int = 256,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    title: str = "",
    note: str = "",
) -> Image.Image:
    """A sheet of square cells of `cell` pixels.

    `columns` head the columns, `labels` stand under the rows (one for each, or none), `note` at the foot.
    """
    small = sheet_font(15)
    large = sheet_font(18)
    width = max(len(row) for row in rows) * (cell + GAP) + GAP
    head = GAP
    if title:
        head = 40
    heads = [wrap_text(name, cell, large, HEAD_LINES) for name in columns]
    if heads:
        head += HEAD_LINE * max(map(len, heads)) + 6
    below: list[list[str]] = [[] for _ in rows]  # the lines under each row
    if labels:
        below = [wrap_text(label, width - 2 * GAP, small) for label in labels]
    foot = []
    if note:
        foot = wrap_text(note, width - 2 * GAP, small)
    body = sum(cell + GAP + TEXT_LINE * len(lines) for lines in below)
    sheet = Image.new("RGB", (width, head + body + TEXT_LINE * len(foot) + GAP), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((GAP, GAP), shorten_text(title, width - 2 * GAP, sheet_font(22)), INK, sheet_font(22))
    for index, lines in enumerate(heads):
        top = head - 4 - HEAD_LINE * len(lines)  # the last line stands on its column
        for number, line in enumerate(lines):
            pen.text((GAP + index * (cell + GAP), top + HEAD_LINE * number), line, INK, large)
    y = head
    for row, lines in zip(rows, below, strict=True):
        for index, image in enumerate(row):
            sheet.paste(fit_into_cell(image, cell), (GAP + index * (cell + GAP), y))
        y = _write_lines(pen, y + cell + 2, lines, INK, small) + GAP - 2
    _write_lines(pen, y, foot, FAINT, small)
    return sheet


def _write_lines(
    pen: ImageDraw.ImageDraw, y: int, lines: Sequence[str], colour: tuple[int, int, int], face: Font
) -> int:
    """Write `lines` from `y` on; returns where the next one would stand."""
    for line in lines:
        pen.text((GAP, y), line, colour, face)
        y += TEXT_LINE
    return y


def fit_into_cell(image: Image.Image, cell: int) -> Image.Image:
    """`image` fitted into a square cell, centred on white."""
    scale = cell / max(image.size)
    width = max(1, round(image.width * scale))
    height = max(1, round(image.height * scale))
    fitted = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (cell, cell), BACKGROUND)
    square.paste(fitted, ((cell - width) // 2, (cell - height) // 2))
    return square


def loss_curves(curves: Mapping[str, Sequence[float]], size: tuple[int, int] = (900, 420)) -> Image.Image:
    """One smoothed line per training, over its steps; the raw losses faint behind it. `size`: width, height."""
    sheet = Image.new("RGB", size, BACKGROUND)
    finite = [value for losses in curves.values() for value in losses if not math.isnan(value)]
    if finite:
        longest = max(len(losses) for losses in curves.values())
        _Plot(sheet, min(finite), max(finite), longest).draw(curves)
    return sheet


class _Plot:
    """Axes on a sheet: steps from left to right, losses from `low` to `high` upwards."""

    def __init__(self, sheet: Image.Image, low: float, high: float, steps: int):
        self.pen = ImageDraw.Draw(sheet)
        self.face = sheet_font(15)
        self.low = low
        self.high = high
        if high == low:
            self.high = low + 1
        self.steps = steps
        self.left = 70
        self.top = 20
        self.right = sheet.width - 20
        self.bottom = sheet.height - 50

    def point(self, step: float, value: float) -> tuple[float, float]:
        """Where the loss of a step lies, in pixels."""
        x = self.left + (self.right - self.left) * step / max(1, self.steps - 1)
        y = self.bottom - (self.bottom - self.top) * (value - self.low) / (self.high - self.low)
        return x, y

    def draw(self, curves: Mapping[str, Sequence[float]]) -> None:
        self._axes()
        for index, (name, losses) in enumerate(curves.items()):
            colour = LINES[index % len(LINES)]
            red, green, blue = [(channel + 2 * 255) // 3 for channel in colour]
            self._line(losses, (red, green, blue), 1)
            self._line(smoothed_losses(losses), colour, 3)
            place = (self.left + 10 + LEGEND * index, self.bottom + 26)
            self.pen.text(place, shorten_text(name, LEGEND - GAP, self.face), colour, self.face)

    def _axes(self) -> None:
        for i in range(5):
            value = self.low + (self.high - self.low) * i / 4
            y = self.point(0, value)[1]
            self.pen.line((self.left, y, self.right, y), RULE)
            self.pen.text((10, y - 8), f"{value:.2f}", FAINT, self.face)
        middle = (self.left + self.right) / 2
        self.pen.text((middle - 30, self.bottom + 8), f"step, of {self.steps}", FAINT, self.face)

    def _line(self, values: Sequence[float], colour: tuple[int, int, int], width: int) -> None:
        points = [self.point(step, value) for step, value in enumerate(values) if not math.isnan(value)]
        if len(points) > 1:
            self.pen.line(points, colour, width)


def smoothed_losses(values: Sequence[float], keep: float = 0.9) -> list[float]:
    """Exponential moving average without the bias of its start; values that are NaN are passed over."""
    total = 0.0
    weight = 0.0
    means = []
    for value in values:
        if not math.isnan(value):
            total = keep * total + (1 - keep) * value
            weight = keep * weight + 1 - keep
        if weight:
            means.append(total / weight)
        else:
            means.append(value)
    return means
