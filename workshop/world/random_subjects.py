"""Subjects drawn by lot: those that a caption can name, and free ones that no words describe."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import NamedTuple

from .colours import Colour, any_colour, any_colour_apart_from, contrasting_colour, jitter_colour
from .held_out import is_held_out
from .markings import MARKINGS
from .reserved import is_reserved
from .scenes import Subject
from .skins import TEXTURES
from .vocabulary import ACCESSORIES, CLASSES, COLOURS, FIGURES, PATTERNS, in_colour

DRESSED = 0.45  # share of figures that wear something
MARKED_NAMED = 0.08  # share of named training subjects with a marking all the same: words need not say everything
MARKED_FREE = 0.6
TEXTURED = 0.4
WIDTHS = (0.87, 1.13)  # as multiples of the usual
HEIGHTS = (0.87, 1.06)  # no taller, or ears would leave the frame


class Worn(NamedTuple):
    """An accessory, as the fields of a Subject name it."""

    accessory: str = ""
    accessory_colour: Colour = (0, 0, 0)
    accessory_words: str = ""


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
    worn = random_accessory(rng, chosen)
    colour = jitter_colour(rng, COLOURS[name])
    second = jitter_colour(rng, second)
    return Subject(chosen, colour, second, pattern, words, *worn, build=random_build(rng))


def training_subject(rng: random.Random) -> Subject:
    """A named subject as training shows it: nothing reserved, now and then with a marking that its caption omits."""
    while True:
        subject = random_subject(rng)
        if rng.random() < MARKED_NAMED:
            subject = with_marking(rng, subject)
        if not is_reserved(subject):
            return subject


def free_subject(rng: random.Random, kind: str | None = None) -> Subject:
    """A subject that no words describe, of class `kind` if given; nothing reserved.

    Any colours and proportions, a pattern or a texture, perhaps a marking. A caption can still say what it wears.
    """
    while True:
        subject = _any_subject(rng, kind or rng.choice(CLASSES))
        if not is_reserved(subject):
            return subject


def _any_subject(rng: random.Random, kind: str) -> Subject:
    colour = any_colour(rng)
    second = any_colour_apart_from(rng, [colour])
    subject = Subject(kind, colour, second, "plain", "", *random_accessory(rng, kind), random_build(rng))
    if rng.random() < TEXTURED:
        subject = replace(subject, texture=rng.choice(list(TEXTURES)), texture_seed=rng.getrandbits(16))
    else:
        subject = replace(subject, pattern=rng.choice(PATTERNS))
    if rng.random() < MARKED_FREE:
        subject = with_marking(rng, subject)
    return replace(subject, stretch=random_stretch(rng))


def with_marking(rng: random.Random, subject: Subject) -> Subject:
    """`subject` with a marking that is easily seen on its skin."""
    around = [subject.colour]
    if subject.pattern != "plain" or subject.texture:
        around.append(subject.second)
    return replace(
        subject,
        marking=rng.choice(list(MARKINGS)),
        marking_colour=any_colour_apart_from(rng, around),
        marking_shape=(round(rng.random(), 2), round(rng.random(), 2)),
    )


def random_accessory(rng: random.Random, kind: str) -> Worn:
    """What a figure wears, often nothing; objects wear nothing."""
    if kind not in FIGURES or rng.random() >= DRESSED:
        return Worn()
    accessory = rng.choice(ACCESSORIES)
    name = rng.choice(list(COLOURS))
    return Worn(accessory, jitter_colour(rng, COLOURS[name]), in_colour(name, accessory))


def random_build(rng: random.Random) -> tuple[float, float, float, float]:
    return round(rng.random(), 2), round(rng.random(), 2), round(rng.random(), 2), round(rng.random(), 2)


def random_stretch(rng: random.Random) -> tuple[float, float]:
    return round(rng.uniform(*WIDTHS), 2), round(rng.uniform(*HEIGHTS), 2)
