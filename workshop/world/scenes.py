"""What a scene contains: one subject (a class with colour, pattern, accessory) at one place, drawn by lot.

`drawing.py` turns a scene into pixels, `captions.py` into a sentence.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .vocabulary import ACCESSORIES, CLASSES, COLOURS, FIGURES, PATTERNS, PLACES

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Subject:
    """Who is in the picture. `build` are four proportions in 0..1 that no caption mentions."""

    kind: str
    colour: Colour
    second: Colour
    pattern: str = "plain"
    words: str = ""  # the adjectives of a caption; empty for a subject that no caption can name
    accessory: str = ""
    accessory_colour: Colour = (0, 0, 0)
    accessory_words: str = ""
    build: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.5)
    marking: str = ""  # only personalization subjects have one: patch, star, heart, belly


@dataclass(frozen=True)
class Scene:
    """A subject at a place. `x`, `y`, `size` are fractions of the whole scene; `seed` varies the backdrop.

    The camera shows 1/`zoom` of its sides; `pan` moves that frame from the left (0) to the right (1) and from top to
    bottom.
    """

    subject: Subject
    place: str
    x: float = 0.5
    y: float = 0.56
    size: float = 0.72
    flip: bool = False
    seed: int = 0
    zoom: float = 1.0
    pan: tuple[float, float] = (0.5, 0.5)
    overlays: int = 0  # random shapes on top: only for training the image tokenizer


def contrasting_colour(colour: Colour) -> Colour:
    """The second colour of a pattern whose caption names only the first: light on dark, dark on light."""
    luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    if luminance < 165:
        return COLOURS["white"]
    return COLOURS["black"]


def jitter_colour(rng: random.Random, colour: Colour, amount: int = 10) -> Colour:
    """`colour` moved a little in each channel: no two photos have quite the same red."""

    def moved(channel: int) -> int:
        return min(255, max(0, channel + rng.randint(-amount, amount)))

    red, green, blue = colour
    return moved(red), moved(green), moved(blue)


def any_colour(rng: random.Random) -> Colour:
    """One that no caption need have a word for."""
    return rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255)


def random_subject(rng: random.Random, kind: str | None = None, held_out: bool | None = False) -> Subject:
    """Draw a subject that a caption can name.

    `held_out=False` never draws a combination that `is_held_out` reserves for evaluation, True draws only those, None
    draws any.
    """
    while True:
        chosen = kind or rng.choice(CLASSES)
        name = rng.choice(list(COLOURS))
        pattern = rng.choice(PATTERNS)
        if held_out is None or is_held_out(chosen, name, pattern) == held_out:
            break
    words = name
    second = contrasting_colour(COLOURS[name])
    if pattern == "two-tone" or (pattern != "plain" and rng.random() < 0.5):
        other = rng.choice([colour for colour in COLOURS if colour != name])
        words = f"{name} and {other}"
        second = COLOURS[other]
    if pattern not in ("plain", "two-tone"):
        words += f" {pattern}"
    accessory = ""
    accessory_colour = (0, 0, 0)
    accessory_words = ""
    if chosen in FIGURES and rng.random() < 0.45:
        accessory = rng.choice(ACCESSORIES)
        worn = rng.choice(list(COLOURS))
        accessory_colour = jitter_colour(rng, COLOURS[worn])
        accessory_words = in_colour(worn, accessory)
    colour = jitter_colour(rng, COLOURS[name])
    second = jitter_colour(rng, second)
    build = (round(rng.random(), 2), round(rng.random(), 2), round(rng.random(), 2), round(rng.random(), 2))
    return Subject(chosen, colour, second, pattern, words, accessory, accessory_colour, accessory_words, build)


def in_colour(colour: str, accessory: str) -> str:
    """How a caption names what is worn: "a red hat", "red glasses"."""
    if accessory == "glasses":
        return f"{colour} {accessory}"
    return f"a {colour} {accessory}"


def is_held_out(kind: str, colour: str, pattern: str) -> bool:
    """Whether a combination is kept out of training: one in twelve, spread over all classes and colours."""
    cell = CLASSES.index(kind) * 5 + list(COLOURS).index(colour) * 7 + PATTERNS.index(pattern) * 4
    return cell % 12 == 0


def random_scene(
    rng: random.Random,
    subject: Subject | None = None,
    place: str | None = None,
    *,
    kind: str | None = None,
    held_out: bool | None = False,
) -> Scene:
    """Place a subject somewhere, in a pose of its own.

    It is drawn where not given; `kind` and `held_out` are then those of `random_subject`.
    """
    return Scene(
        subject or random_subject(rng, kind, held_out),
        place or rng.choice(list(PLACES)),
        x=rng.uniform(0.44, 0.56),
        y=rng.uniform(0.54, 0.59),
        size=rng.uniform(0.64, 0.76),
        flip=rng.random() < 0.5,
        seed=rng.getrandbits(30),
        zoom=rng.uniform(1.0, 1.14),
        pan=(rng.random(), rng.random()),
    )


def wild_scene(rng: random.Random) -> Scene:
    """A scene with colours and shapes that no caption knows, so the image tokenizer can draw unseen subjects."""
    named = random_subject(rng, held_out=None)
    subject = replace(
        named,
        colour=any_colour(rng),
        second=any_colour(rng),
        words="",
        accessory_colour=any_colour(rng),
        accessory_words="",
        marking=rng.choice(["", "patch", "star", "heart", "belly"]),
    )
    return replace(random_scene(rng, subject), overlays=rng.randint(0, 4))
