"""From a scene to pixels, with Pillow.

Everything is drawn at three times the size and averaged down. A subject is drawn in its own frame, x and y
in -1..1 with y downwards; a `Brush` carries that frame to the canvas, so every shape can be moved, scaled
and mirrored.
"""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from .scenes import Scene, Subject

OVERSAMPLING = 3
INK = (38, 32, 40)


def draw(scene: Scene, size: int = 96) -> Image.Image:
    """Draw `scene` as an RGB image of `size` x `size` pixels."""
    frame = size * OVERSAMPLING
    canvas = Image.new("RGB", (round(frame * scene.zoom),) * 2)
    BACKDROPS[scene.place](Backdrop(canvas, random.Random(scene.seed)))
    draw_subject(canvas, scene)
    rng = random.Random(scene.seed + 1)
    for _ in range(scene.overlays):
        overlay(canvas, rng)
    left, top = (round(p * (canvas.width - frame)) for p in scene.pan)
    return canvas.crop((left, top, left + frame, top + frame)).reduce(OVERSAMPLING)


def shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    """Darker for a factor below 1, lighter (towards white) above."""
    if factor <= 1:
        return tuple(int(c * factor) for c in colour)
    return tuple(int(c + (255 - c) * (factor - 1)) for c in colour)


# ---------------------------------------------------------------- places


class Backdrop:
    """A canvas whose coordinates run from 0 to 1."""

    def __init__(self, canvas: Image.Image, rng: random.Random):
        self.rng, self.side, self.pen = rng, canvas.width, ImageDraw.Draw(canvas)

    def _px(self, values):
        return [v * self.side for v in values]

    def box(self, x0, y0, x1, y1, colour):
        self.pen.rectangle(self._px((x0, y0, x1, y1)), fill=colour)

    def disc(self, x, y, rx, colour, ry=None):
        ry = rx if ry is None else ry
        self.pen.ellipse(self._px((x - rx, y - ry, x + rx, y + ry)), fill=colour)

    def shape(self, points, colour):
        self.pen.polygon([tuple(self._px(p)) for p in points], fill=colour)

    def around(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)


def beach(b: Backdrop):
    b.box(0, 0, 1, 0.42, (135, 206, 235))
    b.disc(b.around(0.1, 0.9), 0.12, 0.07, (255, 236, 130))
    b.box(0, 0.42, 1, 0.62, (40, 120, 190))
    b.box(0, 0.6, 1, 1, (236, 212, 150))
    b.box(0, 0.585, 1, 0.61, (225, 240, 245))


def snow(b: Backdrop):
    b.box(0, 0, 1, 1, (176, 196, 222))
    b.box(0, 0.6, 1, 1, (238, 243, 250))
    for x in (b.around(0.02, 0.2), b.around(0.8, 0.98)):
        b.shape([(x, 0.2), (x - 0.14, 0.62), (x + 0.14, 0.62)], (52, 96, 82))
        b.shape([(x, 0.18), (x - 0.06, 0.36), (x + 0.06, 0.36)], (238, 243, 250))


def jungle(b: Backdrop):
    b.box(0, 0, 1, 1, (28, 84, 48))
    b.box(0, 0.78, 1, 1, (70, 60, 34))
    for i in range(6):
        x = i / 5 + b.around(-0.06, 0.06)
        b.disc(x, b.around(0.05, 0.3), 0.16, (50, 128, 62), 0.1)
    for x in (b.around(0.03, 0.15), b.around(0.85, 0.97)):
        b.box(x - 0.03, 0.2, x + 0.03, 0.8, (84, 58, 36))


def city(b: Backdrop):
    b.box(0, 0, 1, 0.75, (188, 196, 210))
    x = -b.around(0, 0.12)
    while x < 1:
        width, top = b.around(0.17, 0.24), b.around(0.06, 0.34)
        tone = b.rng.choice([(110, 116, 132), (130, 122, 126), (98, 106, 124)])
        b.box(x, top, x + width, 0.75, tone)
        for row in range(3):
            for column in (0.25, 0.65):
                wx, wy = x + column * width, top + 0.06 + row * 0.12
                b.box(wx, wy, wx + 0.035, wy + 0.05, (196, 182, 140))
        x += width
    b.box(0, 0.75, 1, 1, (86, 86, 90))
    b.box(0, 0.75, 1, 0.79, (160, 160, 160))


def mountains(b: Backdrop):
    b.box(0, 0, 1, 1, (160, 205, 240))
    for x, height in ((b.around(0.1, 0.3), 0.14), (b.around(0.7, 0.9), 0.2)):
        b.shape([(x, height), (x - 0.4, 0.72), (x + 0.4, 0.72)], (112, 116, 140))
        b.shape([(x, height), (x - 0.1, height + 0.145), (x + 0.1, height + 0.145)], (245, 248, 252))
    b.box(0, 0.7, 1, 1, (120, 168, 88))


def desert(b: Backdrop):
    b.box(0, 0, 1, 1, (250, 200, 130))
    b.disc(b.around(0.15, 0.85), 0.15, 0.09, (250, 120, 60))
    b.box(0, 0.55, 1, 1, (214, 150, 84))
    for x in (b.around(0.05, 0.16), b.around(0.84, 0.95)):
        b.box(x - 0.025, 0.32, x + 0.025, 0.7, (66, 130, 70))
        b.box(x - 0.075, 0.42, x + 0.025, 0.46, (66, 130, 70))
        b.box(x - 0.075, 0.36, x - 0.04, 0.46, (66, 130, 70))


def kitchen(b: Backdrop):
    b.box(0, 0, 1, 1, (236, 226, 200))
    offset = b.around(0, 0.16)
    for i in range(-1, 7):
        b.box(i * 0.16 + offset, 0, i * 0.16 + offset + 0.012, 0.7, (216, 203, 174))
    for i in range(1, 5):
        b.box(0, i * 0.16, 1, i * 0.16 + 0.012, (216, 203, 174))
    b.box(0, 0.7, 1, 1, (150, 98, 60))
    b.box(0, 0.7, 1, 0.74, (110, 70, 44))


def garden(b: Backdrop):
    b.box(0, 0, 1, 1, (150, 212, 240))
    b.box(0, 0.5, 1, 1, (96, 178, 74))
    for i in range(7):
        x, y = (i + b.around(0.2, 0.8)) / 7, b.around(0.56, 0.95)
        b.disc(x, y, 0.035, b.rng.choice([(240, 80, 110), (250, 220, 80), (250, 250, 250)]))
        b.disc(x, y, 0.012, (210, 140, 30))


def water(b: Backdrop):
    b.box(0, 0, 1, 1, (24, 104, 164))
    b.box(0, 0, 1, 0.2, (58, 150, 200))
    b.box(0, 0.84, 1, 1, (196, 178, 122))
    for _ in range(7):
        b.disc(b.around(0, 1), b.around(0.05, 0.75), b.around(0.015, 0.035), (160, 216, 240))
    for x in (b.around(0.03, 0.15), b.around(0.85, 0.97)):
        b.box(x - 0.015, 0.5, x + 0.015, 0.86, (40, 140, 90))


def space(b: Backdrop):
    b.box(0, 0, 1, 1, (16, 14, 42))
    for _ in range(14):
        b.disc(b.around(0, 1), b.around(0, 1), b.around(0.006, 0.013), (250, 250, 220))
    b.disc(b.around(0.08, 0.92), b.around(0.1, 0.2), 0.1, (190, 110, 160))


def floor(b: Backdrop):
    b.box(0, 0, 1, 1, (222, 214, 206))
    b.box(0, 0.38, 1, 1, (186, 128, 76))
    for i in range(5):
        b.box(0, 0.38 + i * 0.13, 1, 0.392 + i * 0.13, (158, 106, 62))
        x = b.around(0, 1)
        b.box(x, 0.38 + i * 0.13, x + 0.012, 0.51 + i * 0.13, (158, 106, 62))


def carpet(b: Backdrop):
    b.box(0, 0, 1, 1, (176, 190, 170))
    b.box(0, 0.36, 1, 1, (130, 110, 96))
    b.disc(0.5 + b.around(-0.05, 0.05), 0.78, 0.62, (240, 150, 180), 0.3)
    b.disc(0.5 + b.around(-0.05, 0.05), 0.78, 0.5, (250, 186, 206), 0.22)


BACKDROPS = {
    f.__name__: f for f in (beach, snow, jungle, city, mountains, desert, kitchen, garden, water, space, floor, carpet)
}


# ---------------------------------------------------------------- subjects


class Brush:
    """Draws one subject: fills shapes with its patterned skin or a flat colour, outlined in a darker shade."""

    def __init__(self, canvas: Image.Image, scene: Scene):
        self.canvas, self.pen = canvas, ImageDraw.Draw(canvas)
        side = canvas.width
        self.cx, self.cy, self.scale = scene.x * side, scene.y * side, scene.size * side / 2
        self.mirror = -1 if scene.flip else 1
        self.line = max(1, round(0.035 * self.scale))
        self.subject = scene.subject
        self.skin = skin(scene.subject, side, self.cx, self.cy, self.scale)

    def _xy(self, point):
        return (self.cx + self.mirror * point[0] * self.scale, self.cy + point[1] * self.scale)

    def polygon(self, points, fill=None, outline=True):
        """Fill a polygon with `fill`, or with the skin when None."""
        xy = [self._xy(p) for p in points]
        if fill is None:
            mask = Image.new("L", self.canvas.size)
            ImageDraw.Draw(mask).polygon(xy, fill=255)
            self.canvas.paste(self.skin, mask=mask)
        else:
            self.pen.polygon(xy, fill=fill)
        if outline:
            edge = shade(self.subject.colour if fill is None else fill, 0.5)
            self.pen.line([*xy, xy[0], xy[1]], fill=edge, width=self.line, joint="curve")

    def ellipse(self, x, y, rx, ry=None, fill=None, outline=True):
        ry = rx if ry is None else ry
        steps = [2 * math.pi * i / 40 for i in range(40)]
        self.polygon([(x + rx * math.cos(t), y + ry * math.sin(t)) for t in steps], fill, outline)

    def box(self, x0, y0, x1, y1, fill=None, outline=True, radius=0.0):
        if not radius:
            return self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, outline)
        corners = [
            (x1 - radius, y0 + radius, -90),
            (x1 - radius, y1 - radius, 0),
            (x0 + radius, y1 - radius, 90),
            (x0 + radius, y0 + radius, 180),
        ]
        points = []
        for x, y, start in corners:
            for angle in range(start, start + 91, 15):
                points.append((x + radius * math.cos(math.radians(angle)), y + radius * math.sin(math.radians(angle))))
        self.polygon(points, fill, outline)

    def stroke(self, points, width, colour=INK):
        self.pen.line(
            [self._xy(p) for p in points], fill=colour, width=max(1, round(width * self.scale)), joint="curve"
        )

    def eyes(self, x, y, r, gap):
        for side in (-1, 1):
            self.ellipse(x + side * gap, y, r, fill=(255, 255, 255))
            self.ellipse(x + side * gap, y + 0.1 * r, 0.55 * r, fill=INK, outline=False)


def skin(subject: Subject, side: int, cx: float, cy: float, scale: float) -> Image.Image:
    """The subject's pattern as a full-frame texture that moves and scales with it."""
    texture = Image.new("RGB", (side, side), subject.colour)
    pen, step = ImageDraw.Draw(texture), 0.36 * scale
    cells = range(-6, 7)
    if subject.pattern == "striped":
        for i in cells:
            pen.rectangle((0, cy + i * step, side, cy + (i + 0.45) * step), fill=subject.second)
    elif subject.pattern == "dotted":
        for i in cells:
            for j in cells:
                x, y, r = cx + (i + 0.5 * (j % 2)) * step, cy + j * step * 0.87, 0.3 * step
                pen.ellipse((x - r, y - r, x + r, y + r), fill=subject.second)
    elif subject.pattern == "checkered":
        for i in cells:
            for j in cells:
                if (i + j) % 2:
                    pen.rectangle(
                        (cx + i * step, cy + j * step, cx + (i + 1) * step, cy + (j + 1) * step), fill=subject.second
                    )
    elif subject.pattern == "two-tone":
        pen.rectangle((0, cy + 0.12 * scale, side, side), fill=subject.second)
    return texture


def draw_subject(canvas: Image.Image, scene: Scene) -> None:
    """Draw the scene's subject with its marking and accessory onto `canvas`."""
    brush = Brush(canvas, scene)
    KINDS[scene.subject.kind](brush, *scene.subject.build)
    if scene.subject.marking:
        mark(brush)
    if scene.subject.accessory:
        WORN[scene.subject.accessory](brush, scene.subject.accessory_colour)


def mark(b: Brush):
    """A feature that belongs to one individual and has no word in any caption."""
    second = b.subject.second
    if b.subject.marking == "patch":
        b.ellipse(0.25, -0.5, 0.24, 0.26, fill=second, outline=False)
        b.eyes(0, -0.48, 0.16, 0.23)
    elif b.subject.marking == "belly":
        b.ellipse(0, 0.5, 0.32, 0.36, fill=second, outline=False)
    elif b.subject.marking == "star":
        points = []
        for i in range(10):
            r, t = (0.3, 0.13)[i % 2], math.pi * (i / 5 - 0.5)
            points.append((r * math.cos(t), 0.48 + r * math.sin(t)))
        b.polygon(points, fill=second)
    elif b.subject.marking == "heart":
        b.polygon(
            [(0, 0.78), (-0.3, 0.46), (-0.26, 0.28), (-0.12, 0.24), (0, 0.36), (0.12, 0.24), (0.26, 0.28), (0.3, 0.46)],
            fill=second,
        )


# Figures: head around (0, -0.45), body below; the eyes at y = -0.48 so that accessories and markings fit all.


def figure_body(b: Brush, width: float):
    for side in (-1, 1):
        b.ellipse(side * 0.3, 0.88, 0.22, 0.13)
    b.ellipse(0, 0.45, 0.45 + 0.12 * width, 0.5)
    for side in (-1, 1):
        b.ellipse(side * (0.5 + 0.08 * width), 0.4, 0.13, 0.26)


def dog(b: Brush, ears, width, eyes, muzzle):
    figure_body(b, width)
    b.polygon([(0.5, 0.55), (0.85, 0.2), (0.95, 0.3), (0.62, 0.72)])
    b.ellipse(0, -0.45, 0.5, 0.45)
    for side in (-1, 1):
        b.ellipse(side * 0.5, -0.35, 0.16, 0.3 + 0.14 * ears, fill=shade(b.subject.colour, 0.7))
    b.eyes(0, -0.48, 0.15 + 0.04 * eyes, 0.23)
    b.ellipse(0, -0.22, 0.22 + 0.06 * muzzle, 0.16, fill=shade(b.subject.colour, 1.55))
    b.ellipse(0, -0.28, 0.09, 0.065, fill=INK, outline=False)


def cat(b: Brush, ears, width, eyes, muzzle):
    figure_body(b, width)
    b.stroke([(0.5, 0.75), (0.8, 0.6), (0.84, 0.25), (0.72, 0.08)], 0.17, shade(b.subject.colour, 0.5))
    b.stroke([(0.5, 0.75), (0.8, 0.6), (0.84, 0.25), (0.72, 0.08)], 0.1, shade(b.subject.colour, 0.85))
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
                shade(b.subject.colour, 0.5),
            )


def bear(b: Brush, ears, width, eyes, muzzle):
    figure_body(b, 0.5 + width / 2)
    for side in (-1, 1):
        b.ellipse(side * 0.4, -0.8, 0.17 + 0.06 * ears)
        b.ellipse(side * 0.4, -0.8, 0.09, fill=shade(b.subject.colour, 0.6), outline=False)
    b.ellipse(0, -0.45, 0.52, 0.46)
    b.eyes(0, -0.48, 0.14 + 0.04 * eyes, 0.22)
    b.ellipse(0, -0.22, 0.2 + 0.05 * muzzle, 0.17, fill=shade(b.subject.colour, 1.6))
    b.ellipse(0, -0.29, 0.1, 0.06, fill=INK, outline=False)


def rabbit(b: Brush, ears, width, eyes, muzzle):
    figure_body(b, width)
    for side in (-1, 1):
        b.ellipse(side * 0.22, -0.95, 0.13, 0.32 + 0.1 * ears)
        b.ellipse(side * 0.22, -0.95, 0.06, 0.2 + 0.08 * ears, fill=(250, 180, 190), outline=False)
    b.ellipse(0, -0.45, 0.46, 0.4)
    b.eyes(0, -0.48, 0.14 + 0.04 * eyes, 0.21)
    b.ellipse(0, -0.28, 0.06, 0.045, fill=(240, 110, 130))
    b.box(-0.08, -0.2, 0.08, -0.08 + 0.05 * muzzle, fill=(255, 255, 255))


def duck(b: Brush, tail, width, eyes, beak):
    b.polygon([(-0.6, 0.5), (-0.95, 0.1 - 0.15 * tail), (-0.5, 0.25)])
    for side in (-1, 1):
        b.ellipse(side * 0.22, 0.95, 0.2, 0.08, fill=(240, 140, 30))
    b.ellipse(0, 0.42, 0.62 + 0.1 * width, 0.5)
    b.ellipse(-0.2, 0.42, 0.3, 0.24, fill=shade(b.subject.colour, 0.8))
    b.ellipse(0, -0.42, 0.45, 0.43)
    b.eyes(0, -0.5, 0.14 + 0.04 * eyes, 0.21)
    b.ellipse(0, -0.22, 0.26 + 0.08 * beak, 0.1, fill=(245, 150, 30))


def robot(b: Brush, antenna, width, eyes, mouth):
    b.stroke([(0, -0.8), (0, -1.0 - 0.1 * antenna)], 0.06)
    b.ellipse(0, -1.02 - 0.1 * antenna, 0.09, fill=(240, 70, 60))
    for side in (-1, 1):
        b.box(side * 0.28 - 0.13, 0.75, side * 0.28 + 0.13, 0.98, fill=(110, 116, 126))
        b.box(side * (0.62 + 0.06 * width) - 0.1, 0.05, side * (0.62 + 0.06 * width) + 0.1, 0.6, fill=(150, 156, 166))
    b.box(-0.5 - 0.08 * width, 0.0, 0.5 + 0.08 * width, 0.8)
    b.box(-0.5, -0.85, 0.5, -0.06)
    b.eyes(0, -0.48, 0.15 + 0.04 * eyes, 0.23)
    b.box(-0.2 - 0.08 * mouth, -0.25, 0.2 + 0.08 * mouth, -0.15, fill=(225, 230, 235))


def mug(b: Brush, handle, width, height, rim):
    w, top = 0.5 + 0.12 * width, -0.55 - 0.15 * height
    b.ellipse(w + 0.05, 0.05, 0.3 + 0.06 * handle, 0.36, fill=shade(b.subject.colour, 0.75))
    b.ellipse(w + 0.05, 0.05, 0.15 + 0.06 * handle, 0.2, fill=(232, 228, 222))
    b.box(-w, top, w, 0.85, radius=0.1)
    b.ellipse(0, top, w, 0.13 + 0.04 * rim, fill=(92, 58, 40))


def teapot(b: Brush, spout, width, lid, handle):
    w = 0.58 + 0.08 * width
    b.ellipse(-w, 0.2, 0.3, 0.32 + 0.06 * handle, fill=shade(b.subject.colour, 0.75))
    b.ellipse(-w, 0.2, 0.16, 0.19 + 0.04 * handle, fill=(232, 228, 222))
    b.polygon(
        [(w - 0.2, 0.35), (w + 0.15, -0.2 - 0.15 * spout), (w + 0.36, -0.2 - 0.15 * spout), (w - 0.05, 0.65)],
        fill=shade(b.subject.colour, 0.85),
    )
    b.ellipse(0, 0.25, w, 0.56)
    b.ellipse(0, -0.28, 0.34, 0.14 + 0.06 * lid, fill=shade(b.subject.colour, 0.8))
    b.ellipse(0, -0.5 - 0.05 * lid, 0.11, fill=(245, 205, 90))


def backpack(b: Brush, pocket, width, strap, handle):
    w = 0.55 + 0.1 * width
    b.ellipse(0, -0.75, 0.2 + 0.05 * handle, 0.2, fill=(90, 80, 74))
    b.ellipse(0, -0.72, 0.11 + 0.05 * handle, 0.11, fill=(232, 228, 222))
    for side in (-1, 1):
        b.box(
            side * (w + 0.06) - 0.1,
            -0.1,
            side * (w + 0.06) + 0.1,
            0.55 + 0.2 * strap,
            fill=shade(b.subject.colour, 0.7),
            radius=0.08,
        )
    b.box(-w, -0.75, w, 0.9, radius=0.28)
    b.box(-w + 0.14, 0.2, w - 0.14, 0.74, fill=shade(b.subject.colour, 0.75), radius=0.1)
    b.stroke([(-w + 0.14, 0.34 + 0.08 * pocket), (w - 0.14, 0.34 + 0.08 * pocket)], 0.05, (240, 214, 120))


def car(b: Brush, roof, hood, wheel, light):
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


def candle(b: Brush, height, width, flame, plate):
    w, top = 0.34 + 0.12 * width, -0.3 - 0.2 * height
    b.ellipse(0, 0.82, 0.66 + 0.14 * plate, 0.16, fill=(200, 170, 110))
    b.box(-w, top, w, 0.82, radius=0.06)
    b.ellipse(0, top, w, 0.1, fill=shade(b.subject.colour, 1.4))
    b.stroke([(0, top), (0, top - 0.14)], 0.05)
    b.ellipse(0, top - 0.32, 0.14 + 0.04 * flame, 0.24, fill=(255, 170, 40))
    b.ellipse(0, top - 0.26, 0.07, 0.12, fill=(255, 240, 150), outline=False)


def sneaker(b: Brush, tongue, sole, toe, laces):
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
    b.ellipse(0.72, 0.32, 0.24, 0.2, fill=shade(b.subject.colour, 1.5))
    b.box(-0.92, 0.42, 1.0, 0.62 + 0.08 * sole, fill=(240, 240, 236), radius=0.08)
    for i in range(3):
        x, y = -0.16 + 0.17 * i, -0.28 + 0.14 * i
        b.stroke([(x - 0.12, y + 0.1), (x + 0.08 + 0.04 * laces, y - 0.02)], 0.08, (250, 250, 250))


KINDS = {f.__name__: f for f in (dog, cat, bear, rabbit, duck, robot, mug, teapot, backpack, car, candle, sneaker)}


# ---------------------------------------------------------------- accessories


def hat(b: Brush, colour):
    b.box(-0.3, -1.15, 0.3, -0.78, fill=colour)
    b.box(-0.52, -0.86, 0.52, -0.74, fill=colour, radius=0.05)


def scarf(b: Brush, colour):
    b.box(0.12, -0.02, 0.36, 0.5, fill=shade(colour, 0.85))
    b.box(-0.48, -0.1, 0.48, 0.12, fill=colour, radius=0.1)


def bow_tie(b: Brush, colour):
    for side in (-1, 1):
        b.polygon([(0, 0.04), (side * 0.34, -0.12), (side * 0.34, 0.2)], fill=colour)
    b.ellipse(0, 0.04, 0.09, fill=shade(colour, 0.8))


def glasses(b: Brush, colour):
    b.stroke([(-0.5, -0.5), (0.5, -0.5)], 0.07, colour)
    for side in (-1, 1):
        b.ellipse(side * 0.23, -0.47, 0.24, fill=colour)
        b.ellipse(side * 0.23, -0.47, 0.155, fill=(255, 255, 255), outline=False)
        b.ellipse(side * 0.23, -0.46, 0.075, fill=INK, outline=False)


WORN = {"hat": hat, "scarf": scarf, "bow tie": bow_tie, "glasses": glasses}


def overlay(canvas: Image.Image, rng: random.Random) -> None:
    """A random outlined shape, for training the image tokenizer on more than this world contains."""
    pen, side = ImageDraw.Draw(canvas), canvas.width
    x, y, r = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.05, 0.2) * side
    fill = tuple(rng.randint(0, 255) for _ in range(3))
    if rng.random() < 0.5:
        pen.ellipse((x - r, y - r * rng.uniform(0.4, 1), x + r, y + r), fill=fill, outline=shade(fill, 0.5), width=3)
    else:
        pen.polygon(
            [(x + rng.uniform(-r, r), y + rng.uniform(-r, r)) for _ in range(4)], fill=fill, outline=shade(fill, 0.5)
        )
