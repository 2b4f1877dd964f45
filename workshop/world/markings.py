"""What marks one individual, for which no caption has words: a star, a moon, a sash.

Every class has a spot where a marking is well seen: a figure's belly, the side of a mug, a car's door.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .brush import Brush
from .colours import Colour
from .outlines import Point, arc, ellipse_outline, moved, star_outline, turned
from .vocabulary import FIGURES


class Spot(NamedTuple):
    """Where a class has its marking, in the subject's frame, and how large one is there: 1 on a figure's belly."""

    x: float
    y: float
    size: float


BELLY = Spot(0, 0.48, 1.0)
SPOTS = {
    "duck": Spot(0.33, 0.42, 0.8),  # beside the wing
    "mug": Spot(0, 0.2, 1.3),
    "teapot": Spot(0, 0.3, 1.15),
    "backpack": Spot(0, -0.26, 1.1),  # above the pocket
    "car": Spot(0, 0.31, 0.8),  # between the wheels
    "candle": Spot(0, 0.28, 1.0),
    "sneaker": Spot(-0.48, 0.03, 0.9),  # at the heel
}
SIZES = (0.85, 1.15)  # of a marking, as multiples of the usual
TILT = 25  # degrees, at most, to either side


def draw_marking(b: Brush) -> None:
    """Draw the marking of the brush's subject, over what has been drawn of it."""
    MARKINGS[b.subject.marking](b)


def marking_colour(b: Brush) -> Colour:
    """The second colour, unless the subject has one for its marking alone."""
    return b.subject.marking_colour or b.subject.second


def at_spot(b: Brush, points: Sequence[Point]) -> list[Point]:
    """Points around (0, 0) carried to the spot of the subject's class, in its marking's own size and tilt."""
    spot = SPOTS.get(b.subject.kind, BELLY)
    size, tilt = b.subject.marking_shape
    low, high = SIZES
    grown = turned(points, spot.size * (low + (high - low) * size), TILT * (2 * tilt - 1))
    return moved(grown, spot.x, spot.y)


def stamp(b: Brush, points: Sequence[Point]) -> None:
    """Draw the polygon of points around (0, 0) at the class's spot."""
    b.polygon(at_spot(b, points), fill=marking_colour(b))


def patch(b: Brush) -> None:
    """Around one eye; on an object, which has none, a ragged blot."""
    if b.subject.kind in FIGURES:
        b.ellipse(0.25, -0.5, 0.24, 0.26, fill=marking_colour(b), outline=False)
        b.eyes(0, -0.48, 0.16, 0.23)
        return
    for x, y, r in ((-0.12, -0.08, 0.2), (0.1, -0.12, 0.17), (0.02, 0.1, 0.2), (-0.2, 0.12, 0.12)):
        b.stain(at_spot(b, ellipse_outline(x, y, r, r)), marking_colour(b))


def belly(b: Brush) -> None:
    """A large oval."""
    b.stain(at_spot(b, ellipse_outline(0, 0.02, 0.32, 0.36)), marking_colour(b))


def star(b: Brush) -> None:
    stamp(b, star_outline(0.3, 0.13, rays=5))


def heart(b: Brush) -> None:
    left = [(0, 0.3), (-0.3, -0.02), (-0.26, -0.2), (-0.12, -0.24), (0, -0.12)]
    right = [(0.12, -0.24), (0.26, -0.2), (0.3, -0.02)]
    stamp(b, [*left, *right])


def moon(b: Brush) -> None:
    """A crescent, open to the right."""
    stamp(b, [*arc(0, 0, 0.31, 45, 315), *arc(0.16, 0, 0.23, 285, 75)])


def ring(b: Brush) -> None:
    stamp(b, ellipse_outline(0, 0, 0.3, 0.3))
    b.polygon(at_spot(b, ellipse_outline(0, 0, 0.15, 0.15)))  # the skin again


def bolt(b: Brush) -> None:
    """A flash of lightning."""
    stamp(b, [(0.1, -0.34), (-0.22, 0.06), (-0.03, 0.06), (-0.1, 0.32), (0.22, -0.1), (0.03, -0.1)])


def cross(b: Brush) -> None:
    """With arms of equal length."""
    arm = 0.3
    half = 0.1
    corner = [(half, -half), (half, -arm), (-half, -arm)]
    stamp(b, [point for degrees in (0, 270, 180, 90) for point in turned(corner, 1, degrees)])


def spots(b: Brush) -> None:
    """Three, as the corners of a triangle."""
    for x, y in ((0, -0.2), (-0.19, 0.13), (0.19, 0.13)):
        stamp(b, ellipse_outline(x, y, 0.125, 0.125))


def sash(b: Brush) -> None:
    """A band across the body, from one shoulder to the other side."""
    band = [(-0.44, -0.45), (-0.14, -0.45), (0.44, 0.45), (0.14, 0.45)]
    b.stain(at_spot(b, band), marking_colour(b))


MARKINGS: dict[str, Callable[[Brush], None]] = {
    paint.__name__: paint for paint in (patch, belly, star, heart, moon, ring, bolt, cross, spots, sash)
}
