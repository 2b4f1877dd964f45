"""From a scene to pixels, with Pillow: the place, the subject, what lies on top, and the camera's frame.

Everything is drawn at three times the size and averaged down.
"""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

from .accessories import ACCESSORIES
from .backdrops import BACKDROPS, Backdrop
from .brush import Brush
from .colours import shade_colour
from .figures import FIGURES
from .markings import draw_marking
from .objects import OBJECTS
from .scenes import Placed, Scene

OVERSAMPLING = 3
KINDS = {paint.__name__: paint for paint in (*FIGURES, *OBJECTS)}  # by class


def draw_scene(scene: Scene, size: int = 96) -> Image.Image:
    """Draw `scene` as an RGB image of `size` x `size` pixels."""
    frame = size * OVERSAMPLING
    side = round(frame * scene.zoom)
    canvas = Image.new("RGB", (side, side))
    BACKDROPS[scene.place](Backdrop(canvas, random.Random(scene.seed)))
    for placed in sorted(scene.placed, key=lambda placed: placed.y):  # what stands lower is nearer: it comes last
        draw_subject(canvas, placed)
    rng = random.Random(scene.seed + 1)
    for _ in range(scene.overlays):
        draw_overlay(canvas, rng)
    left = round(scene.pan[0] * (side - frame))
    top = round(scene.pan[1] * (side - frame))
    return canvas.crop((left, top, left + frame, top + frame)).reduce(OVERSAMPLING)


def draw_subject(canvas: Image.Image, placed: Placed) -> None:
    """Draw a subject with its marking and accessory onto `canvas`."""
    subject = placed.subject
    brush = Brush(canvas, placed)
    KINDS[subject.kind](brush, *subject.build)
    if subject.marking:
        draw_marking(brush)
    if subject.accessory:
        ACCESSORIES[subject.accessory](brush, subject.accessory_colour)


def draw_overlay(canvas: Image.Image, rng: random.Random) -> None:
    """A random outlined shape, for training the image tokenizer on more than this world contains."""
    pen = ImageDraw.Draw(canvas)
    side = canvas.width
    x = rng.uniform(0, side)
    y = rng.uniform(0, side)
    r = rng.uniform(0.05, 0.2) * side
    fill = (rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255))
    edge = shade_colour(fill, 0.5)
    if rng.random() < 0.5:
        pen.ellipse((x - r, y - r * rng.uniform(0.4, 1), x + r, y + r), fill=fill, outline=edge, width=3)
    else:
        corners = [(x + rng.uniform(-r, r), y + rng.uniform(-r, r)) for _ in range(4)]
        pen.polygon(corners, fill=fill, outline=edge)
