"""What subjects have on top: accessories, which captions name, and markings, which belong to one individual."""

from __future__ import annotations

import math
from collections.abc import Callable

from .brush import INK, Brush
from .colours import Colour, shade_colour


def hat(b: Brush, colour: Colour) -> None:
    b.box(-0.3, -1.15, 0.3, -0.78, fill=colour)
    b.box(-0.52, -0.86, 0.52, -0.74, fill=colour, radius=0.05)


def scarf(b: Brush, colour: Colour) -> None:
    b.box(0.12, -0.02, 0.36, 0.5, fill=shade_colour(colour, 0.85))
    b.box(-0.48, -0.1, 0.48, 0.12, fill=colour, radius=0.1)


def bow_tie(b: Brush, colour: Colour) -> None:
    for side in (-1, 1):
        b.polygon([(0, 0.04), (side * 0.34, -0.12), (side * 0.34, 0.2)], fill=colour)
    b.ellipse(0, 0.04, 0.09, fill=shade_colour(colour, 0.8))


def glasses(b: Brush, colour: Colour) -> None:
    b.stroke([(-0.5, -0.5), (0.5, -0.5)], 0.07, colour)
    for side in (-1, 1):
        b.ellipse(side * 0.23, -0.47, 0.24, fill=colour)
        b.ellipse(side * 0.23, -0.47, 0.155, fill=(255, 255, 255), outline=False)
        b.ellipse(side * 0.23, -0.46, 0.075, fill=INK, outline=False)


ACCESSORIES: dict[str, Callable[[Brush, Colour], None]] = {
    "hat": hat,
    "scarf": scarf,
    "bow tie": bow_tie,
    "glasses": glasses,
}


def patch(b: Brush) -> None:
    """Around one eye."""
    b.ellipse(0.25, -0.5, 0.24, 0.26, fill=b.subject.second, outline=False)
    b.eyes(0, -0.48, 0.16, 0.23)


def belly(b: Brush) -> None:
    b.ellipse(0, 0.5, 0.32, 0.36, fill=b.subject.second, outline=False)


def star(b: Brush) -> None:
    points = []
    for i in range(10):
        radius = (0.3, 0.13)[i % 2]
        angle = math.pi * (i / 5 - 0.5)
        points.append((radius * math.cos(angle), 0.48 + radius * math.sin(angle)))
    b.polygon(points, fill=b.subject.second)


def heart(b: Brush) -> None:
    points = [
        (0, 0.78),
        (-0.3, 0.46),
        (-0.26, 0.28),
        (-0.12, 0.24),
        (0, 0.36),
        (0.12, 0.24),
        (0.26, 0.28),
        (0.3, 0.46),
    ]
    b.polygon(points, fill=b.subject.second)


MARKINGS: dict[str, Callable[[Brush], None]] = {"patch": patch, "belly": belly, "star": star, "heart": heart}
