"""Pictures made of pictures: labelled grids and loss curves."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

BACKGROUND, INK, FAINT = (255, 255, 255), (30, 30, 36), (150, 150, 160)
LINES = ((44, 98, 208), (214, 88, 49), (66, 160, 71), (130, 66, 180))
GAP = 10


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def wrapped(text: str, width: int, face) -> list[str]:
    """`text` in lines no wider than `width` pixels (a single longer word stays whole)."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def grid(
    rows: Sequence[Sequence[Image.Image]],
    *,
    cell: int = 256,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    title: str = "",
    note: str = "",
) -> Image.Image:
    """A sheet of square cells: `columns` head the columns, `labels` stand under each row, `note` at the foot."""
    face, small = font(18), font(15)
    across = max(map(len, rows))
    width = across * (cell + GAP) + GAP
    head = (40 if title else GAP) + (28 if columns else 0)
    below = [wrapped(label, width - 2 * GAP, small) for label in labels] or [[] for _ in rows]
    foot = wrapped(note, width - 2 * GAP, small) if note else []
    height = head + sum(cell + GAP + 20 * len(lines) for lines in below) + 20 * len(foot) + GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((GAP, GAP), title, INK, font(22))
    for index, name in enumerate(columns):
        pen.text((GAP + index * (cell + GAP), head - 26), name, INK, face)
    y = head
    for row, lines in zip(rows, below):
        for index, image in enumerate(row):
            sheet.paste(enlarged(image, cell), (GAP + index * (cell + GAP), y))
        y += cell + 2
        for line in lines:
            pen.text((GAP, y), line, INK, small)
            y += 20
        y += GAP - 2
    for line in foot:
        pen.text((GAP, y), line, FAINT, small)
        y += 20
    return sheet


def enlarged(image: Image.Image, cell: int) -> Image.Image:
    """`image` fitted into a square cell, centred on white."""
    scale = cell / max(image.size)
    fitted = image.convert("RGB").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    square = Image.new("RGB", (cell, cell), BACKGROUND)
    square.paste(fitted, ((cell - fitted.width) // 2, (cell - fitted.height) // 2))
    return square


def loss_curves(curves: dict[str, Sequence[float]], size: tuple[int, int] = (900, 420)) -> Image.Image:
    """One smoothed line per training, over its steps; the raw losses faint behind it."""
    sheet = Image.new("RGB", size, BACKGROUND)
    pen, face = ImageDraw.Draw(sheet), font(15)
    finite = [v for losses in curves.values() for v in losses if v == v]
    if not finite:
        return sheet
    low, high = min(finite), max(finite)
    high = high if high > low else low + 1
    longest = max(len(losses) for losses in curves.values())
    left, top, right, bottom = 70, 20, size[0] - 20, size[1] - 50

    def point(step: float, value: float) -> tuple[float, float]:
        return left + (right - left) * step / max(1, longest - 1), bottom - (bottom - top) * (value - low) / (
            high - low
        )

    for i in range(5):
        value = low + (high - low) * i / 4
        y = point(0, value)[1]
        pen.line((left, y, right, y), (232, 232, 236))
        pen.text((10, y - 8), f"{value:.2f}", FAINT, face)
    pen.text(((left + right) / 2 - 30, bottom + 8), f"step, of {longest}", FAINT, face)
    for index, (name, losses) in enumerate(curves.items()):
        colour = LINES[index % len(LINES)]
        pale = tuple((c + 2 * 255) // 3 for c in colour)
        for values, shade, thick in ((losses, pale, 1), (smoothed(losses), colour, 3)):
            line = [point(i, v) for i, v in enumerate(values) if v == v]
            if len(line) > 1:
                pen.line(line, shade, thick)
        pen.text((left + 10 + 200 * index, bottom + 26), name, colour, face)
    return sheet


def smoothed(values: Sequence[float], keep: float = 0.9) -> list[float]:
    """Exponential moving average without the bias of its start."""
    total, weight, out = 0.0, 0.0, []
    for value in values:
        if value == value:
            total, weight = keep * total + (1 - keep) * value, keep * weight + 1 - keep
        out.append(total / weight if weight else value)
    return out
