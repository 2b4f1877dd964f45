"""How a subject is drawn: shapes in its own frame, filled with its skin and outlined.

x and y run from -1 to 1, y downwards. A `Brush` carries that frame to the canvas, so every shape can be moved, scaled,
stretched and mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw

from .colours import Colour, shade_colour
from .outlines import Point, box_outline, ellipse_outline
from .scenes import Placed
from .skins import subject_skin

INK = (38, 32, 40)
SKIN = 255  # in a mask of where the skin is seen
OTHER = 0


class Brush:
    """Draws one subject: fills shapes with its skin or a flat colour, outlined in a darker shade."""

    def __init__(self, canvas: Image.Image, placed: Placed):
        side = canvas.width
        self.canvas = canvas
        self.pen = ImageDraw.Draw(canvas)
        self.cx = placed.x * side
        self.cy = placed.y * side
        self.scale = placed.size * side / 2
        self.mirror = 1
        if placed.flip:
            self.mirror = -1
        self.line = max(1, round(0.035 * self.scale))  # pixels
        self.subject = placed.subject
        self.skin = subject_skin(placed.subject, side, (self.cx, self.cy), self.scale, self.mirror)
        self.drawn: list[tuple[list[Point], int]] = []  # outlines so far, in pixels; SKIN or OTHER is within

    def polygon(self, points: Sequence[Point], fill: Colour | None = None, outline: bool = True) -> None:
        """Fill a polygon with `fill`, or with the skin where there is none."""
        xy = [self._pixel(point) for point in points]
        if fill is None:
            edge = self.subject.colour
            self._show_skin(xy)
            self.drawn.append((xy, SKIN))
        else:
            edge = fill
            self.pen.polygon(xy, fill=fill)
            self.drawn.append((xy, OTHER))
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
        self.polygon(ellipse_outline(x, y, rx, ry), fill, outline)

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
        self.polygon(box_outline(x0, y0, x1, y1, radius), fill, outline)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour = INK) -> None:
        """A line through the points."""
        pixels = max(1, round(width * self.scale))
        self.pen.line([self._pixel(point) for point in points], fill=colour, width=pixels, joint="curve")

    def eyes(self, x: float, y: float, r: float, gap: float) -> None:
        """Two of radius `r`, each `gap` away from x."""
        for side in (-1, 1):
            self.ellipse(x + side * gap, y, r, fill=(255, 255, 255))
            self.ellipse(x + side * gap, y + 0.1 * r, 0.55 * r, fill=INK, outline=False)

    def stain(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon with `fill`, but only where the skin is seen: behind eyes and wheels, within the outlines."""
        shape = Image.new("L", self.canvas.size)
        ImageDraw.Draw(shape).polygon([self._pixel(point) for point in points], fill=255)
        self.canvas.paste(fill, mask=ImageChops.multiply(shape, self._visible_skin()))

    def _show_skin(self, xy: Sequence[Point]) -> None:
        """Through a mask no larger than the polygon: one of the whole canvas would cost most of a drawing's time."""
        left = max(0, math.floor(min(x for x, _ in xy)))
        top = max(0, math.floor(min(y for _, y in xy)))
        right = min(self.canvas.width, math.ceil(max(x for x, _ in xy)) + 1)
        bottom = min(self.canvas.height, math.ceil(max(y for _, y in xy)) + 1)
        if left >= right or top >= bottom:  # all of it lies outside the canvas
            return
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in xy], fill=255)
        self.canvas.paste(self.skin.crop((left, top, right, bottom)), (left, top), mask)

    def _visible_skin(self) -> Image.Image:
        """A mask of the canvas: SKIN where the newest shape shows it and no outline runs."""
        mask = Image.new("L", self.canvas.size)
        pen = ImageDraw.Draw(mask)
        for xy, within in self.drawn:
            pen.polygon(xy, fill=within)
            pen.line([*xy, xy[0], xy[1]], fill=OTHER, width=self.line)
        return mask

    def _pixel(self, point: Point) -> Point:
        x, y = point
        width, height = self.subject.stretch
        return self.cx + self.mirror * x * self.scale * width, self.cy + y * self.scale * height
