"""Pictures made of pictures: labelled grids and loss curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (255, 255, 255)
INK = (30, 30, 36)
FAINT = (150, 150, 160)
RULE = (232, 232, 236)  # lines behind a curve
LINES = ((44, 98, 208), (214, 88, 49), (66, 160, 71), (130, 66, 180))  # one colour per curve
GAP = 10  # pixels
TEXT_LINE = 20  # pixels from one line of small text to the next

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


def wrap_text(text: str, width: int, face: Font) -> list[str]:
    """`text` in lines no wider than `width` pixels (a single longer word stays whole)."""
    text = drawable(text, face)
    lines = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


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
    width = max(len(row) for row in rows) * (cell + GAP) + GAP
    head = GAP
    if title:
        head = 40
    if columns:
        head += 28
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
        _write(pen, (GAP, GAP), title, INK, sheet_font(22))
    for index, name in enumerate(columns):
        _write(pen, (GAP + index * (cell + GAP), head - 26), name, INK, sheet_font(18))
    y = head
    for row, lines in zip(rows, below, strict=True):
        for index, image in enumerate(row):
            sheet.paste(fit_into_cell(image, cell), (GAP + index * (cell + GAP), y))
        y = _write_lines(pen, y + cell + 2, lines, INK, small) + GAP - 2
    _write_lines(pen, y, foot, FAINT, small)
    return sheet


def _write(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: tuple[int, int, int], face: Font
) -> None:
    pen.text(place, drawable(text, face), colour, face)


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
            _write(self.pen, (self.left + 10 + 200 * index, self.bottom + 26), name, colour, self.face)

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
