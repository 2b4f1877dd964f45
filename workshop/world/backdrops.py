"""The twelve places, each drawn on a canvas whose sides run from 0 to 1."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from .colours import Colour
from .outlines import Point


class Backdrop:
    """A canvas whose coordinates run from 0 to 1, x to the right and y downwards."""

    def __init__(self, canvas: Image.Image, rng: random.Random):
        self.rng = rng
        self.side = canvas.width
        self.pen = ImageDraw.Draw(canvas)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.pen.rectangle(self._pixels((x0, y0, x1, y1)), fill=colour)

    def disc(self, x: float, y: float, rx: float, colour: Colour, ry: float | None = None) -> None:
        """An ellipse around (x, y); a circle without `ry`."""
        if ry is None:
            ry = rx
        self.pen.ellipse(self._pixels((x - rx, y - ry, x + rx, y + ry)), fill=colour)

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """A polygon."""
        self.pen.polygon([(x * self.side, y * self.side) for x, y in points], fill=colour)

    def around(self, low: float, high: float) -> float:
        """A number between the two, another in every scene."""
        return self.rng.uniform(low, high)

    def _pixels(self, values: Sequence[float]) -> list[float]:
        return [value * self.side for value in values]


def beach(b: Backdrop) -> None:
    b.box(0, 0, 1, 0.42, (135, 206, 235))
    b.disc(b.around(0.1, 0.9), 0.12, 0.07, (255, 236, 130))
    b.box(0, 0.42, 1, 0.62, (40, 120, 190))
    b.box(0, 0.6, 1, 1, (236, 212, 150))
    b.box(0, 0.585, 1, 0.61, (225, 240, 245))


def snow(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (176, 196, 222))
    b.box(0, 0.6, 1, 1, (238, 243, 250))
    for x in (b.around(0.02, 0.2), b.around(0.8, 0.98)):
        b.shape([(x, 0.2), (x - 0.14, 0.62), (x + 0.14, 0.62)], (52, 96, 82))
        b.shape([(x, 0.18), (x - 0.06, 0.36), (x + 0.06, 0.36)], (238, 243, 250))


def jungle(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (28, 84, 48))
    b.box(0, 0.78, 1, 1, (70, 60, 34))
    for i in range(6):
        x = i / 5 + b.around(-0.06, 0.06)
        b.disc(x, b.around(0.05, 0.3), 0.16, (50, 128, 62), 0.1)
    for x in (b.around(0.03, 0.15), b.around(0.85, 0.97)):
        b.box(x - 0.03, 0.2, x + 0.03, 0.8, (84, 58, 36))


def city(b: Backdrop) -> None:
    b.box(0, 0, 1, 0.75, (188, 196, 210))
    x = -b.around(0, 0.12)
    while x < 1:
        width = b.around(0.17, 0.24)
        top = b.around(0.06, 0.34)
        tone = b.rng.choice([(110, 116, 132), (130, 122, 126), (98, 106, 124)])
        b.box(x, top, x + width, 0.75, tone)
        for row in range(3):
            for column in (0.25, 0.65):
                wx = x + column * width
                wy = top + 0.06 + row * 0.12
                b.box(wx, wy, wx + 0.035, wy + 0.05, (196, 182, 140))
        x += width
    b.box(0, 0.75, 1, 1, (86, 86, 90))
    b.box(0, 0.75, 1, 0.79, (160, 160, 160))


def mountains(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (160, 205, 240))
    for x, height in ((b.around(0.1, 0.3), 0.14), (b.around(0.7, 0.9), 0.2)):
        b.shape([(x, height), (x - 0.4, 0.72), (x + 0.4, 0.72)], (112, 116, 140))
        b.shape([(x, height), (x - 0.1, height + 0.145), (x + 0.1, height + 0.145)], (245, 248, 252))
    b.box(0, 0.7, 1, 1, (120, 168, 88))


def desert(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (250, 200, 130))
    b.disc(b.around(0.15, 0.85), 0.15, 0.09, (250, 120, 60))
    b.box(0, 0.55, 1, 1, (214, 150, 84))
    for x in (b.around(0.05, 0.16), b.around(0.84, 0.95)):
        b.box(x - 0.025, 0.32, x + 0.025, 0.7, (66, 130, 70))
        b.box(x - 0.075, 0.42, x + 0.025, 0.46, (66, 130, 70))
        b.box(x - 0.075, 0.36, x - 0.04, 0.46, (66, 130, 70))


def kitchen(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (236, 226, 200))
    offset = b.around(0, 0.16)
    for i in range(-1, 7):
        b.box(i * 0.16 + offset, 0, i * 0.16 + offset + 0.012, 0.7, (216, 203, 174))
    for i in range(1, 5):
        b.box(0, i * 0.16, 1, i * 0.16 + 0.012, (216, 203, 174))
    b.box(0, 0.7, 1, 1, (150, 98, 60))
    b.box(0, 0.7, 1, 0.74, (110, 70, 44))


def garden(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (150, 212, 240))
    b.box(0, 0.5, 1, 1, (96, 178, 74))
    for i in range(7):
        x = (i + b.around(0.2, 0.8)) / 7
        y = b.around(0.56, 0.95)
        b.disc(x, y, 0.035, b.rng.choice([(240, 80, 110), (250, 220, 80), (250, 250, 250)]))
        b.disc(x, y, 0.012, (210, 140, 30))


def water(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (24, 104, 164))
    b.box(0, 0, 1, 0.2, (58, 150, 200))
    b.box(0, 0.84, 1, 1, (196, 178, 122))
    for _ in range(7):
        b.disc(b.around(0, 1), b.around(0.05, 0.75), b.around(0.015, 0.035), (160, 216, 240))
    for x in (b.around(0.03, 0.15), b.around(0.85, 0.97)):
        b.box(x - 0.015, 0.5, x + 0.015, 0.86, (40, 140, 90))


def space(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (16, 14, 42))
    for _ in range(14):
        b.disc(b.around(0, 1), b.around(0, 1), b.around(0.006, 0.013), (250, 250, 220))
    b.disc(b.around(0.08, 0.92), b.around(0.1, 0.2), 0.1, (190, 110, 160))


def floor(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (222, 214, 206))
    b.box(0, 0.38, 1, 1, (186, 128, 76))
    for i in range(5):
        b.box(0, 0.38 + i * 0.13, 1, 0.392 + i * 0.13, (158, 106, 62))
        x = b.around(0, 1)
        b.box(x, 0.38 + i * 0.13, x + 0.012, 0.51 + i * 0.13, (158, 106, 62))


def carpet(b: Backdrop) -> None:
    b.box(0, 0, 1, 1, (176, 190, 170))
    b.box(0, 0.36, 1, 1, (130, 110, 96))
    b.disc(0.5 + b.around(-0.05, 0.05), 0.78, 0.62, (240, 150, 180), 0.3)
    b.disc(0.5 + b.around(-0.05, 0.05), 0.78, 0.5, (250, 186, 206), 0.22)


PAINTED = (beach, snow, jungle, city, mountains, desert, kitchen, garden, water, space, floor, carpet)
BACKDROPS: dict[str, Callable[[Backdrop], None]] = {paint.__name__: paint for paint in PAINTED}  # by place
