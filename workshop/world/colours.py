"""Colours as (red, green, blue) in 0..255: how far apart they are, and how they are drawn by lot."""

from __future__ import annotations

import math
import random

from .vocabulary import COLOURS

Colour = tuple[int, int, int]
CLEARLY_APART = 110.0  # the distance and the difference in brightness from which one colour is easily seen on another
CLEARLY_BRIGHTER = 40.0


def colour_distance(one: Colour, other: Colour) -> float:
    """Euclidean, 0..442."""
    return math.dist(one, other)


def nearest_colour_name(colour: Colour) -> str:
    """The name in `COLOURS` that a caption would have to use for `colour`."""
    return min(COLOURS, key=lambda name: colour_distance(colour, COLOURS[name]))


def brightness(colour: Colour) -> float:
    """How light it looks, 0..255."""
    red, green, blue = colour
    return 0.3 * red + 0.59 * green + 0.11 * blue


def contrasting_colour(colour: Colour) -> Colour:
    """The second colour of a pattern whose caption names only the first: light on dark, dark on light."""
    if brightness(colour) < 165:
        return COLOURS["white"]
    return COLOURS["black"]


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


def jitter_colour(rng: random.Random, colour: Colour, amount: int = 10) -> Colour:
    """`colour` moved a little in each channel: no two photos have quite the same red."""

    def moved(channel: int) -> int:
        return min(255, max(0, channel + rng.randint(-amount, amount)))

    red, green, blue = colour
    return moved(red), moved(green), moved(blue)


def any_colour(rng: random.Random) -> Colour:
    """One that no caption need have a word for."""
    return rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255)


def any_colour_apart_from(rng: random.Random, others: list[Colour]) -> Colour:
    """One that is easily seen on each of `others`."""
    while True:
        colour = any_colour(rng)
        if all(easily_seen(colour, other) for other in others):
            return colour


def easily_seen(colour: Colour, ground: Colour) -> bool:
    """Whether a shape of `colour` stands out on `ground`, also in a small picture."""
    brighter = abs(brightness(colour) - brightness(ground))
    return colour_distance(colour, ground) >= CLEARLY_APART and brighter >= CLEARLY_BRIGHTER
