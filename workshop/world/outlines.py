"""The outlines of shapes as lists of points, x to the right and y downwards."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]


def ellipse_outline(x: float, y: float, rx: float, ry: float) -> list[Point]:
    """Around (x, y)."""
    angles = [2 * math.pi * i / 40 for i in range(40)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def box_outline(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> list[Point]:
    """A rectangle, with round corners of `radius`."""
    if not radius:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    corners = [
        (x1 - radius, y0 + radius, -90),
        (x1 - radius, y1 - radius, 0),
        (x0 + radius, y1 - radius, 90),
        (x0 + radius, y0 + radius, 180),
    ]
    points = []
    for x, y, start in corners:
        for degrees in range(start, start + 91, 15):
            angle = math.radians(degrees)
            points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return points


def star_outline(outer: float, inner: float, rays: int) -> list[Point]:
    """Around (0, 0), one ray upwards."""
    points = []
    for i in range(2 * rays):
        radius = (outer, inner)[i % 2]
        angle = math.pi * (i / rays - 0.5)
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


def arc(x: float, y: float, r: float, start: float, end: float) -> list[Point]:
    """Part of a circle around (x, y), from one angle to another, in degrees clockwise from the right."""
    angles = [math.radians(start + (end - start) * i / 16) for i in range(17)]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for a in angles]


def turned(points: Sequence[Point], size: float, degrees: float) -> list[Point]:
    """Points grown and turned clockwise around (0, 0)."""
    cos = size * math.cos(math.radians(degrees))
    sin = size * math.sin(math.radians(degrees))
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]


def moved(points: Sequence[Point], dx: float, dy: float) -> list[Point]:
    return [(x + dx, y + dy) for x, y in points]
