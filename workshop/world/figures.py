"""The figures: classes with a face, which can wear things.

Their head is around (0, -0.45) and the body below; the eyes are at y = -0.48, so that accessories and markings fit all.
A figure's four numbers are the subject's `build`, proportions in 0..1.
"""

from __future__ import annotations

from .brush import INK, Brush
from .colours import shade_colour


def figure_body(b: Brush, width: float) -> None:
    """Feet, belly and arms."""
    for side in (-1, 1):
        b.ellipse(side * 0.3, 0.88, 0.22, 0.13)
    b.ellipse(0, 0.45, 0.45 + 0.12 * width, 0.5)
    for side in (-1, 1):
        b.ellipse(side * (0.5 + 0.08 * width), 0.4, 0.13, 0.26)


def dog(b: Brush, ears: float, width: float, eyes: float, muzzle: float) -> None:
    figure_body(b, width)
    b.polygon([(0.5, 0.55), (0.85, 0.2), (0.95, 0.3), (0.62, 0.72)])
    b.ellipse(0, -0.45, 0.5, 0.45)
    for side in (-1, 1):
        b.ellipse(side * 0.5, -0.35, 0.16, 0.3 + 0.14 * ears, fill=shade_colour(b.subject.colour, 0.7))
    b.eyes(0, -0.48, 0.15 + 0.04 * eyes, 0.23)
    b.ellipse(0, -0.22, 0.22 + 0.06 * muzzle, 0.16, fill=shade_colour(b.subject.colour, 1.55))
    b.ellipse(0, -0.28, 0.09, 0.065, fill=INK, outline=False)


def cat(b: Brush, ears: float, width: float, eyes: float, muzzle: float) -> None:
    figure_body(b, width)
    tail = [(0.5, 0.75), (0.8, 0.6), (0.84, 0.25), (0.72, 0.08)]
    b.stroke(tail, 0.17, shade_colour(b.subject.colour, 0.5))
    b.stroke(tail, 0.1, shade_colour(b.subject.colour, 0.85))
    for side in (-1, 1):
        b.polygon([(side * 0.48, -0.5), (side * 0.46, -0.95 - 0.1 * ears), (side * 0.1, -0.78)])
    b.ellipse(0, -0.45, 0.52, 0.42)
    b.eyes(0, -0.48, 0.15 + 0.04 * eyes, 0.23)
    b.polygon([(-0.07, -0.3), (0.07, -0.3), (0, -0.22)], fill=(240, 120, 140))
    for side in (-1, 1):
        for dy in (-0.05, 0.05):
            b.stroke(
                [(side * 0.2, -0.25), (side * (0.55 + 0.1 * muzzle), -0.25 + dy * 1.6)],
                0.035,
                shade_colour(b.subject.colour, 0.5),
            )


def bear(b: Brush, ears: float, width: float, eyes: float, muzzle: float) -> None:
    figure_body(b, 0.5 + width / 2)
    for side in (-1, 1):
        b.ellipse(side * 0.4, -0.8, 0.17 + 0.06 * ears)
        b.ellipse(side * 0.4, -0.8, 0.09, fill=shade_colour(b.subject.colour, 0.6), outline=False)
    b.ellipse(0, -0.45, 0.52, 0.46)
    b.eyes(0, -0.48, 0.14 + 0.04 * eyes, 0.22)
    b.ellipse(0, -0.22, 0.2 + 0.05 * muzzle, 0.17, fill=shade_colour(b.subject.colour, 1.6))
    b.ellipse(0, -0.29, 0.1, 0.06, fill=INK, outline=False)


def rabbit(b: Brush, ears: float, width: float, eyes: float, muzzle: float) -> None:
    figure_body(b, width)
    for side in (-1, 1):
        b.ellipse(side * 0.22, -0.95, 0.13, 0.32 + 0.1 * ears)
        b.ellipse(side * 0.22, -0.95, 0.06, 0.2 + 0.08 * ears, fill=(250, 180, 190), outline=False)
    b.ellipse(0, -0.45, 0.46, 0.4)
    b.eyes(0, -0.48, 0.14 + 0.04 * eyes, 0.21)
    b.ellipse(0, -0.28, 0.06, 0.045, fill=(240, 110, 130))
    b.box(-0.08, -0.2, 0.08, -0.08 + 0.05 * muzzle, fill=(255, 255, 255))


def duck(b: Brush, tail: float, width: float, eyes: float, beak: float) -> None:
    b.polygon([(-0.6, 0.5), (-0.95, 0.1 - 0.15 * tail), (-0.5, 0.25)])
    for side in (-1, 1):
        b.ellipse(side * 0.22, 0.95, 0.2, 0.08, fill=(240, 140, 30))
    b.ellipse(0, 0.42, 0.62 + 0.1 * width, 0.5)
    b.ellipse(-0.2, 0.42, 0.3, 0.24, fill=shade_colour(b.subject.colour, 0.8))
    b.ellipse(0, -0.42, 0.45, 0.43)
    b.eyes(0, -0.5, 0.14 + 0.04 * eyes, 0.21)
    b.ellipse(0, -0.22, 0.26 + 0.08 * beak, 0.1, fill=(245, 150, 30))


def robot(b: Brush, antenna: float, width: float, eyes: float, mouth: float) -> None:
    b.stroke([(0, -0.8), (0, -1.0 - 0.1 * antenna)], 0.06)
    b.ellipse(0, -1.02 - 0.1 * antenna, 0.09, fill=(240, 70, 60))
    for side in (-1, 1):
        b.box(side * 0.28 - 0.13, 0.75, side * 0.28 + 0.13, 0.98, fill=(110, 116, 126))
        b.box(side * (0.62 + 0.06 * width) - 0.1, 0.05, side * (0.62 + 0.06 * width) + 0.1, 0.6, fill=(150, 156, 166))
    b.box(-0.5 - 0.08 * width, 0.0, 0.5 + 0.08 * width, 0.8)
    b.box(-0.5, -0.85, 0.5, -0.06)
    b.eyes(0, -0.48, 0.15 + 0.04 * eyes, 0.23)
    b.box(-0.2 - 0.08 * mouth, -0.25, 0.2 + 0.08 * mouth, -0.15, fill=(225, 230, 235))


FIGURES = (dog, cat, bear, rabbit, duck, robot)
