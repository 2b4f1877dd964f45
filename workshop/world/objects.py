"""The objects: classes without a face. An object's four numbers are the subject's `build`, proportions in 0..1."""

from __future__ import annotations

from .brush import Brush
from .colours import shade_colour


def mug(b: Brush, handle: float, width: float, height: float, rim: float) -> None:
    w = 0.5 + 0.12 * width
    top = -0.55 - 0.15 * height
    b.ellipse(w + 0.05, 0.05, 0.3 + 0.06 * handle, 0.36, fill=shade_colour(b.subject.colour, 0.75))
    b.ellipse(w + 0.05, 0.05, 0.15 + 0.06 * handle, 0.2, fill=(232, 228, 222))
    b.box(-w, top, w, 0.85, radius=0.1)
    b.ellipse(0, top, w, 0.13 + 0.04 * rim, fill=(92, 58, 40))


def teapot(b: Brush, spout: float, width: float, lid: float, handle: float) -> None:
    w = 0.58 + 0.08 * width
    b.ellipse(-w, 0.2, 0.3, 0.32 + 0.06 * handle, fill=shade_colour(b.subject.colour, 0.75))
    b.ellipse(-w, 0.2, 0.16, 0.19 + 0.04 * handle, fill=(232, 228, 222))
    b.polygon(
        [(w - 0.2, 0.35), (w + 0.15, -0.2 - 0.15 * spout), (w + 0.36, -0.2 - 0.15 * spout), (w - 0.05, 0.65)],
        fill=shade_colour(b.subject.colour, 0.85),
    )
    b.ellipse(0, 0.25, w, 0.56)
    b.ellipse(0, -0.28, 0.34, 0.14 + 0.06 * lid, fill=shade_colour(b.subject.colour, 0.8))
    b.ellipse(0, -0.5 - 0.05 * lid, 0.11, fill=(245, 205, 90))


def backpack(b: Brush, pocket: float, width: float, strap: float, handle: float) -> None:
    w = 0.55 + 0.1 * width
    b.ellipse(0, -0.75, 0.2 + 0.05 * handle, 0.2, fill=(90, 80, 74))
    b.ellipse(0, -0.72, 0.11 + 0.05 * handle, 0.11, fill=(232, 228, 222))
    for side in (-1, 1):
        b.box(
            side * (w + 0.06) - 0.1,
            -0.1,
            side * (w + 0.06) + 0.1,
            0.55 + 0.2 * strap,
            fill=shade_colour(b.subject.colour, 0.7),
            radius=0.08,
        )
    b.box(-w, -0.75, w, 0.9, radius=0.28)
    b.box(-w + 0.14, 0.2, w - 0.14, 0.74, fill=shade_colour(b.subject.colour, 0.75), radius=0.1)
    b.stroke([(-w + 0.14, 0.34 + 0.08 * pocket), (w - 0.14, 0.34 + 0.08 * pocket)], 0.05, (240, 214, 120))


def car(b: Brush, roof: float, hood: float, wheel: float, light: float) -> None:
    b.polygon([(-0.62, 0.1), (-0.42, -0.42 - 0.12 * roof), (0.3, -0.42 - 0.12 * roof), (0.6, 0.1)])
    b.polygon(
        [(-0.48, 0.06), (-0.34, -0.3 - 0.1 * roof), (-0.06, -0.3 - 0.1 * roof), (-0.06, 0.06)], fill=(190, 226, 244)
    )
    b.polygon([(0.04, 0.06), (0.04, -0.3 - 0.1 * roof), (0.24, -0.3 - 0.1 * roof), (0.45, 0.06)], fill=(190, 226, 244))
    b.box(-0.95, 0.06, 0.9 + 0.08 * hood, 0.58, radius=0.16)
    b.ellipse(0.86 + 0.06 * hood, 0.24, 0.08 + 0.03 * light, fill=(255, 236, 140))
    for x in (-0.5, 0.5):
        b.ellipse(x, 0.6, 0.24 + 0.05 * wheel, fill=(50, 50, 54))
        b.ellipse(x, 0.6, 0.11, fill=(190, 190, 196))


def candle(b: Brush, height: float, width: float, flame: float, plate: float) -> None:
    w = 0.34 + 0.12 * width
    top = -0.3 - 0.2 * height
    b.ellipse(0, 0.82, 0.66 + 0.14 * plate, 0.16, fill=(200, 170, 110))
    b.box(-w, top, w, 0.82, radius=0.06)
    b.ellipse(0, top, w, 0.1, fill=shade_colour(b.subject.colour, 1.4))
    b.stroke([(0, top), (0, top - 0.14)], 0.05)
    b.ellipse(0, top - 0.32, 0.14 + 0.04 * flame, 0.24, fill=(255, 170, 40))
    b.ellipse(0, top - 0.26, 0.07, 0.12, fill=(255, 240, 150), outline=False)


def sneaker(b: Brush, tongue: float, sole: float, toe: float, laces: float) -> None:
    b.polygon(
        [
            (-0.85, 0.45),
            (-0.85, -0.42),
            (-0.6, -0.5),
            (-0.3, -0.55 - 0.12 * tongue),
            (-0.1, -0.4),
            (0.3, -0.02),
            (0.8, 0.12 - 0.06 * toe),
            (0.95, 0.45),
        ]
    )
    b.ellipse(0.72, 0.32, 0.24, 0.2, fill=shade_colour(b.subject.colour, 1.5))
    b.box(-0.92, 0.42, 1.0, 0.62 + 0.08 * sole, fill=(240, 240, 236), radius=0.08)
    for i in range(3):
        x = -0.16 + 0.17 * i
        y = -0.28 + 0.14 * i
        b.stroke([(x - 0.12, y + 0.1), (x + 0.08 + 0.04 * laces, y - 0.02)], 0.08, (250, 250, 250))


OBJECTS = (mug, teapot, backpack, car, candle, sneaker)
