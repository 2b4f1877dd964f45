"""How a subject is drawn: shapes in its own frame, filled with its patterned skin and outlined.

x and y run from -1 to 1, y downwards. A `Brush` carries that frame to the canvas, so every shape can be moved, scaled
and mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .scenes import Scene, Subject

INK = (38, 32, 40)

Colour = tuple[int, int, int]
Point = tuple[float, float]


def shade_colour(colour: Colour, factor: float) -> Colour:
    """Darker for a factor below 1, lighter (towards white) above."""
    red, green, blue = colour
    if factor <= 1:
        return int(red * factor), int(green * factor), int(blue * factor)
    share = factor - 1
    return (
        int(red + (255 - red) * share),
        int(green + (255 - green) * share),
        int(blue + (255 - blue) * share),
    )


class Brush:
    """Draws one subject: fills shapes with its skin or a flat colour, outlined in a darker shade."""

    def __init__(self, canvas: Image.Image, scene: Scene):
        side = canvas.width
        self.canvas = canvas
        self.pen = ImageDraw.Draw(canvas)
        self.cx = scene.x * side
        self.cy = scene.y * side
        self.scale = scene.size * side / 2
        self.mirror = 1
        if scene.flip:
            self.mirror = -1
        self.line = max(1, round(0.035 * self.scale))  # pixels
        self.subject = scene.subject
        self.skin = subject_skin(scene.subject, side, self.cx, self.cy, self.scale)

    def polygon(self, points: Sequence[Point], fill: Colour | None = None, outline: bool = True) -> None:
        """Fill a polygon with `fill`, or with the skin where there is none."""
        xy = [self._pixel(point) for point in points]
        edge = self.subject.colour
        if fill is None:
            mask = Image.new("L", self.canvas.size)
            ImageDraw.Draw(mask).polygon(xy, fill=255)
            self.canvas.paste(self.skin, mask=mask)
        else:
            self.pen.polygon(xy, fill=fill)
            edge = fill
        if outline:
            self.pen.line([*xy, xy[0], xy[1]], fill=shade_colour(edge, 0.5), width=self.line, joint="curve")

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float | None = None,
        fill: Colour | None = None,
        outline: bool = True,
    ) -> None:
        """Around (x, y); a circle without `ry`."""
        if ry is None:
            ry = rx
        angles = [2 * math.pi * i / 40 for i in range(40)]
        self.polygon([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles], fill, outline)

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None = None,
        outline: bool = True,
        radius: float = 0.0,
    ) -> None:
        """A rectangle, with round corners of `radius`."""
        if not radius:
            self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, outline)
            return
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
        self.polygon(points, fill, outline)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour = INK) -> None:
        """A line through the points."""
        pixels = max(1, round(width * self.scale))
        self.pen.line([self._pixel(point) for point in points], fill=colour, width=pixels, joint="curve")

    def eyes(self, x: float, y: float, r: float, gap: float) -> None:
        """Two of radius `r`, each `gap` away from x."""
        for side in (-1, 1):
            self.ellipse(x + side * gap, y, r, fill=(255, 255, 255))
            self.ellipse(x + side * gap, y + 0.1 * r, 0.55 * r, fill=INK, outline=False)

    def _pixel(self, point: Point) -> Point:
        x, y = point
        return self.cx + self.mirror * x * self.scale, self.cy + y * self.scale


def subject_skin(subject: Subject, side: int, cx: float, cy: float, scale: float) -> Image.Image:
    """The subject's pattern as a texture of `side` pixels that moves and scales with it."""
    texture = Image.new("RGB", (side, side), subject.colour)
    pen = ImageDraw.Draw(texture)
    step = 0.36 * scale
    cells = range(-6, 7)
    if subject.pattern == "striped":
        for i in cells:
            pen.rectangle((0, cy + i * step, side, cy + (i + 0.45) * step), fill=subject.second)
    elif subject.pattern == "dotted":
        r = 0.3 * step
        for i in cells:
            for j in cells:
                x = cx + (i + 0.5 * (j % 2)) * step
                y = cy + j * step * 0.87
                pen.ellipse((x - r, y - r, x + r, y + r), fill=subject.second)
    elif subject.pattern == "checkered":
        for i in cells:
            for j in cells:
                if (i + j) % 2:
                    left = cx + i * step
                    top = cy + j * step
                    pen.rectangle((left, top, cx + (i + 1) * step, cy + (j + 1) * step), fill=subject.second)
    elif subject.pattern == "two-tone":
        pen.rectangle((0, cy + 0.12 * scale, side, side), fill=subject.second)
    return texture
