"""A picture of measured shares over a training: lines with the intervals of their points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from ar_core.sheets import BACKGROUND, FAINT, INK, LINES, RULE, sheet_font

from .intervals import Numbers

Point = tuple[int, Numbers]  # sequences seen, a share with its interval
SIZE = (900, 520)  # pixels
LEFT = 70
RIGHT = 30
TOP = 40
LINE = 24  # pixels of the legend
DOT = 4


def curve_picture(lines: Mapping[str, Sequence[Point]], ceilings: Mapping[str, float], title: str) -> Image.Image:
    """Each of `lines` over the sequences seen; where it has one of the `ceilings`, that as a dashed line."""
    sheet = Image.new("RGB", SIZE, BACKGROUND)
    axes = Axes(sheet, lines, legend=len(lines) * LINE)
    axes.draw(title)
    for number, (name, points) in enumerate(lines.items()):
        colour = LINES[number % len(LINES)]
        text = name
        if name in ceilings:
            axes.dashes(ceilings[name], colour)
            text = f"{name} (dashed: the judges about reconstructions)"
        axes.line(points, colour)
        axes.legend(number, text, colour)
    return sheet


class Axes:
    """Sequences from left to right, from zero on; shares upwards, from a round number below the lowest to 1."""

    def __init__(self, sheet: Image.Image, lines: Mapping[str, Sequence[Point]], legend: int):
        self.pen = ImageDraw.Draw(sheet)
        self.face = sheet_font(15)
        points = [point for several in lines.values() for point in several]
        self.most = max(sequences for sequences, _ in points)
        lowest = min(share[1] for _, share in points)
        self.tenth = min(9, int(10 * lowest))  # the axis starts at so many tenths
        self.right = sheet.width - RIGHT
        self.bottom = sheet.height - legend - 60

    def place(self, sequences: float, share: float) -> tuple[float, float]:
        """Where a point lies, in pixels."""
        low = self.tenth / 10
        x = LEFT + (self.right - LEFT) * sequences / max(1, self.most)
        y = self.bottom - (self.bottom - TOP) * (share - low) / (1 - low)
        return x, y

    def draw(self, title: str) -> None:
        """The title, a rule at every tenth, and numbers along both axes."""
        self.pen.text((LEFT, 8), title, INK, sheet_font(18))
        for tenth in range(self.tenth, 11):
            _, y = self.place(0, tenth / 10)
            self.pen.line([(LEFT, y), (self.right, y)], fill=RULE)
            self.pen.text((LEFT - 34, y - 9), f"{tenth / 10:.1f}", FAINT, self.face)
        for quarter in range(5):
            sequences = self.most * quarter / 4
            x, _ = self.place(sequences, 1)
            self.pen.text((x - 30, self.bottom + 8), f"{sequences:,.0f}", FAINT, self.face)
        self.pen.text((LEFT, self.bottom + 28), "sequences seen", FAINT, self.face)

    def line(self, points: Sequence[Point], colour: tuple[int, int, int]) -> None:
        """A line through the points, each with a dot and its interval."""
        places = [self.place(sequences, share[0]) for sequences, share in points]
        if len(places) > 1:
            self.pen.line(places, fill=colour, width=3, joint="curve")
        for (x, y), (sequences, share) in zip(places, points, strict=True):
            self.pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill=colour)
            self.pen.line([self.place(sequences, share[1]), self.place(sequences, share[2])], fill=colour)

    def dashes(self, share: float, colour: tuple[int, int, int]) -> None:
        """A dashed line at a share."""
        _, y = self.place(0, share)
        for x in range(LEFT, self.right, 12):
            self.pen.line([(x, y), (x + 6, y)], fill=colour)

    def legend(self, number: int, text: str, colour: tuple[int, int, int]) -> None:
        """A line's colour and name, below the axes."""
        y = self.bottom + 56 + number * LINE
        self.pen.line([(LEFT, y + 9), (LEFT + 30, y + 9)], fill=colour, width=3)
        self.pen.text((LEFT + 40, y), text, INK, self.face)
