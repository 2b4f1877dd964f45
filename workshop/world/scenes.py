"""The miniature's world: what a scene contains and the sentences that describe it.

A scene is one subject (a class with colour, pattern, accessory) at one place. This file holds
the words and draws the lots; `drawing.py` turns a scene into pixels.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

COLOURS = {
    "red": (214, 48, 49),
    "orange": (240, 138, 36),
    "yellow": (247, 211, 60),
    "green": (66, 160, 71),
    "teal": (22, 160, 160),
    "blue": (44, 98, 208),
    "purple": (130, 66, 180),
    "pink": (245, 130, 180),
    "brown": (130, 82, 44),
    "grey": (140, 145, 150),
    "white": (245, 245, 242),
    "black": (48, 48, 54),
}
PATTERNS = ("plain", "striped", "dotted", "checkered", "two-tone")
FIGURES = ("dog", "cat", "bear", "rabbit", "duck", "robot")  # these have a face and can wear things
OBJECTS = ("mug", "teapot", "backpack", "car", "candle", "sneaker")
CLASSES = FIGURES + OBJECTS
ACCESSORIES = ("hat", "scarf", "bow tie", "glasses")
PLACES = {
    "beach": "on the beach",
    "snow": "in the snow",
    "jungle": "in the jungle",
    "city": "in the city",
    "mountains": "in the mountains",
    "desert": "in the desert",
    "kitchen": "in the kitchen",
    "garden": "in the garden",
    "water": "under water",
    "space": "in space",
    "floor": "on a wooden floor",
    "carpet": "on a pink carpet",
}

# Textual Inversion's neutral templates (Gal et al. 2022, appendix), shortened to those without a second object.
TEMPLATES = (
    "a photo of {}",
    "a rendition of {}",
    "a cropped photo of {}",
    "the photo of {}",
    "a photo of a clean {}",
    "a close-up photo of {}",
    "a bright photo of {}",
    "a good photo of {}",
    "a photo of one {}",
    "a photo of a nice {}",
    "an illustration of {}",
    "a picture of {}",
)


@dataclass(frozen=True)
class Subject:
    """Who is in the picture. `build` are four proportions in 0..1 that no caption mentions."""

    kind: str
    colour: tuple[int, int, int]
    second: tuple[int, int, int]
    pattern: str = "plain"
    words: str = ""  # the adjectives of a caption; empty for a subject that no caption can name
    accessory: str = ""
    accessory_colour: tuple[int, int, int] = (0, 0, 0)
    accessory_words: str = ""
    build: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.5)
    marking: str = ""  # only personalization subjects have one: patch, star, heart, belly


@dataclass(frozen=True)
class Scene:
    """A subject at a place. `x`, `y`, `size` are fractions of the whole scene; `seed` varies the backdrop.

    The camera shows 1/`zoom` of its sides; `pan` moves that frame from the left (0) to the right (1) and from top to bottom.
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
    overlays: int = field(default=0)  # random shapes on top: only for training the image tokenizer


def contrast(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """The second colour of a pattern whose caption names only the first: light on dark, dark on light."""
    luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    return COLOURS["white"] if luminance < 165 else COLOURS["black"]


def jitter(rng: random.Random, colour: tuple[int, int, int], amount: int = 10) -> tuple[int, int, int]:
    """`colour` moved a little in each channel: no two photos have quite the same red."""
    return tuple(min(255, max(0, c + rng.randint(-amount, amount))) for c in colour)


def random_subject(rng: random.Random, kind: str | None = None, held_out: bool | None = False) -> Subject:
    """Draw a subject that a caption can name.

    `held_out=False` never draws a combination that `is_held_out` reserves for evaluation,
    True draws only those, None draws any.
    """
    while True:
        cls = kind or rng.choice(CLASSES)
        name, pattern = rng.choice(list(COLOURS)), rng.choice(PATTERNS)
        if held_out is None or is_held_out(cls, name, pattern) == held_out:
            break
    colour, second, words = COLOURS[name], contrast(COLOURS[name]), name
    if pattern == "two-tone" or (pattern != "plain" and rng.random() < 0.5):
        other = rng.choice([c for c in COLOURS if c != name])
        second, words = COLOURS[other], f"{name} and {other}"
    if pattern not in ("plain", "two-tone"):
        words += f" {pattern}"
    accessory, accessory_colour, accessory_words = "", (0, 0, 0), ""
    if cls in FIGURES and rng.random() < 0.45:
        accessory, worn = rng.choice(ACCESSORIES), rng.choice(list(COLOURS))
        accessory_colour = jitter(rng, COLOURS[worn])
        accessory_words = f"{worn} {accessory}" if accessory == "glasses" else f"a {worn} {accessory}"
    return Subject(
        cls,
        jitter(rng, colour),
        jitter(rng, second),
        pattern,
        words,
        accessory,
        accessory_colour,
        accessory_words,
        tuple(round(rng.random(), 2) for _ in range(4)),
    )


def is_held_out(kind: str, colour: str, pattern: str) -> bool:
    """Whether a combination is kept out of training: one in twelve, spread over all classes and colours."""
    cell = CLASSES.index(kind) * 5 + list(COLOURS).index(colour) * 7 + PATTERNS.index(pattern) * 4
    return cell % 12 == 0


def random_scene(
    rng: random.Random, subject: Subject | None = None, place: str | None = None, **subject_choices
) -> Scene:
    """Place a subject (drawn if not given) somewhere, in a pose of its own."""
    return Scene(
        subject or random_subject(rng, **subject_choices),
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
    subject = random_subject(rng, held_out=None)
    anything = lambda: tuple(rng.randint(0, 255) for _ in range(3))  # noqa: E731
    subject = Subject(
        subject.kind,
        anything(),
        anything(),
        subject.pattern,
        "",
        subject.accessory,
        anything(),
        "",
        subject.build,
        rng.choice(["", "patch", "star", "heart", "belly"]),
    )
    scene = random_scene(rng, subject)
    return replace(scene, overlays=rng.randint(0, 4))


def describe(scene: Scene, words: str | None = None) -> str:
    """The full sentence of a scene, e.g. "a red dotted dog wearing a blue hat on the beach".

    `words` replaces the adjectives, e.g. with an identifier.
    """
    subject = scene.subject
    words = subject.words if words is None else words
    worn = f" wearing {subject.accessory_words}" if subject.accessory_words else ""
    return f"{with_article(f'{words} {subject.kind}'.strip())}{worn} {PLACES[scene.place]}"


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def random_caption(rng: random.Random, scene: Scene) -> str:
    """One of the many ways to describe a scene in the training set: parts are left out, templates vary."""
    subject = scene.subject
    noun = subject.kind if rng.random() < 0.06 else f"{subject.words} {subject.kind}"
    template = "{}" if rng.random() < 0.5 else rng.choice(TEMPLATES)
    bare = template.rsplit(" ", 2)[-2] in ("clean", "nice", "one") if template != "{}" else False
    sentence = template.format(noun if bare or rng.random() < 0.25 else with_article(noun))
    if subject.accessory_words and rng.random() < 0.95:
        sentence += f" wearing {subject.accessory_words}"
    if rng.random() < 0.92:
        sentence += f" {PLACES[scene.place]}"
    return sentence
