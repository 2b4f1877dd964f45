"""What covers a subject: the patterns, which captions name, and the textures, for which they have no words.

A skin is painted in the subject's own frame (brush.py), so it moves and grows with the subject.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from .outlines import Point
from .scenes import Subject

CELLS = range(-6, 7)  # stripes, dots and squares on either side of the subject's middle
STEP = 0.36  # from one of them to the next, in units of the subject's frame


class Cloth:
    """An image in the subject's colour, to be painted with its second colour.

    Coordinates are those of the subject's frame: x to the right and y downwards, from -1 to 1.
    """

    def __init__(self, subject: Subject, side: int, centre: Point, scale: float, mirror: int):
        self.subject = subject
        self.image = Image.new("RGB", (side, side), subject.colour)
        self.pen = ImageDraw.Draw(self.image)
        self.cx, self.cy = centre
        self.scale = scale  # pixels per unit
        self.mirror = mirror  # -1 for a subject that looks the other way, else 1

    def box(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A rectangle."""
        self.pen.rectangle((*self.pixel((x0, y0)), *self.pixel((x1, y1))), fill=self.subject.second)

    def disc(self, x: float, y: float, r: float) -> None:
        """A circle around (x, y)."""
        cx, cy = self.pixel((x, y))
        r *= self.scale
        self.pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=self.subject.second)

    def line(self, points: Sequence[Point], width: float) -> None:
        """A line through the points."""
        pixels = max(1, round(width * self.scale))
        xy = [self.pixel((self.mirror * x, y)) for x, y in points]
        self.pen.line(xy, fill=self.subject.second, width=pixels, joint="curve")

    def pixel(self, point: Point) -> Point:
        """Where a point lies on the image."""
        x, y = point
        return self.cx + x * self.scale, self.cy + y * self.scale


def subject_skin(subject: Subject, side: int, centre: Point, scale: float, mirror: int) -> Image.Image:
    """An image of `side` pixels covered with the subject's texture, or with its pattern where it has none.

    `centre` and `scale` carry the subject's frame to pixels; `mirror` is -1 for a subject that looks the other way.
    """
    cloth = Cloth(subject, side, centre, scale, mirror)
    paint = (PATTERNS | TEXTURES)[subject.texture or subject.pattern]
    paint(cloth)
    return cloth.image


def plain(cloth: Cloth) -> None:
    """Nothing but the subject's colour."""


def striped(cloth: Cloth) -> None:
    for i in CELLS:
        cloth.box(-9, i * STEP, 9, (i + 0.45) * STEP)


def dotted(cloth: Cloth) -> None:
    for i in CELLS:
        for j in CELLS:
            cloth.disc((i + 0.5 * (j % 2)) * STEP, j * STEP * 0.87, 0.3 * STEP)


def checkered(cloth: Cloth) -> None:
    for i in CELLS:
        for j in CELLS:
            if (i + j) % 2:
                cloth.box(i * STEP, j * STEP, (i + 1) * STEP, (j + 1) * STEP)


def two_tone(cloth: Cloth) -> None:
    cloth.box(-9, 0.12, 9, 9)


def slanted(cloth: Cloth) -> None:
    """Diagonal stripes."""
    for i in CELLS:
        x = i * 0.5
        cloth.line([(x - 1.5, 1.5), (x + 1.5, -1.5)], 0.17)


def zigzag(cloth: Cloth) -> None:
    for i in CELLS:
        y = i * 0.38
        corners = [(k * 0.24, y + 0.11 * (-1) ** k) for k in range(-7, 8)]
        cloth.line(corners, 0.11)


def net(cloth: Cloth) -> None:
    """Thin lines across one another."""
    for i in CELLS:
        x = i * 0.42
        cloth.line([(x - 1.5, 1.5), (x + 1.5, -1.5)], 0.06)
        cloth.line([(x - 1.5, -1.5), (x + 1.5, 1.5)], 0.06)


def splashes(cloth: Cloth) -> None:
    """Large ragged spots as a cow has them."""
    rng = random.Random(cloth.subject.texture_seed)
    for row in range(-2, 3):
        for column in range(-2, 3):
            x = column * 0.5 + 0.25 * (row % 2) + rng.uniform(-0.1, 0.1)
            y = row * 0.45 + rng.uniform(-0.1, 0.1)
            for _ in range(4):
                r = rng.uniform(0.07, 0.14)
                cloth.disc(cloth.mirror * (x + rng.uniform(-0.1, 0.1)), y + rng.uniform(-0.08, 0.08), r)


def freckles(cloth: Cloth) -> None:
    """Many little spots, in no order."""
    rng = random.Random(cloth.subject.texture_seed)
    for row in range(-8, 8):
        for column in range(-6, 7):
            x = column * 0.17 + rng.uniform(-0.07, 0.07)
            y = row * 0.15 + rng.uniform(-0.06, 0.06)
            cloth.disc(cloth.mirror * x, y, rng.uniform(0.025, 0.05))


def gradient(cloth: Cloth) -> None:
    """From the first colour at the top slowly to the second at the bottom."""
    _, top = cloth.pixel((0, -0.7))
    _, bottom = cloth.pixel((0, 0.8))
    side = cloth.image.width
    rising = Image.linear_gradient("L").resize((side, max(1, round(bottom - top))))
    cloth.image.paste(cloth.subject.second, (0, round(top)), mask=rising)
    cloth.box(-9, 0.79, 9, 9)


PATTERNS: dict[str, Callable[[Cloth], None]] = {
    "plain": plain,
    "striped": striped,
    "dotted": dotted,
    "checkered": checkered,
    "two-tone": two_tone,
}
TEXTURES: dict[str, Callable[[Cloth], None]] = {
    paint.__name__: paint for paint in (slanted, zigzag, net, splashes, freckles, gradient)
}
