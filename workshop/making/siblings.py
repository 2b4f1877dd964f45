"""Subjects that are told apart by one thing alone: by their skin, or by what marks them.

Someone who knows subjects by their colour takes siblings for each other, so judges learn from them and are asked
about them.
"""

from __future__ import annotations

import random
from dataclasses import replace

from ..world.random_subjects import free_subject, random_subject, with_marking
from ..world.reserved import resembles, resembles_unseen
from ..world.scenes import Subject
from ..world.skins import TEXTURES
from ..world.vocabulary import PATTERNS

FREE = 0.6  # share of subjects outside the captioned world


def any_subject(rng: random.Random, kind: str | None = None) -> Subject:
    """A subject of the captioned world or outside it, of class `kind` if given; none that evaluations personalize."""
    if rng.random() < FREE:
        return free_subject(rng, kind)
    while True:
        subject = random_subject(rng, kind, held_out=None)
        if not resembles_unseen(subject):
            return subject


def sibling(rng: random.Random, subject: Subject) -> Subject:
    """One that differs from `subject` in its marking or in its skin alone; none that evaluations personalize."""
    while True:
        change = rng.choice((_with_other_marking, _with_other_skin))
        other = change(rng, subject)
        if not resembles(subject, other) and not resembles_unseen(other):
            return other


def _with_other_marking(rng: random.Random, subject: Subject) -> Subject:
    """Another one in the same colour, now and then none; one where there was none."""
    if subject.marking and rng.random() < 0.3:
        return replace(subject, marking="")
    other = with_marking(rng, subject)
    if subject.marking:
        other = replace(other, marking_colour=subject.marking_colour, marking_shape=subject.marking_shape)
    return other


def _with_other_skin(rng: random.Random, subject: Subject) -> Subject:
    """Another pattern or texture in the same colours."""
    if rng.random() < 0.5:
        return replace(subject, texture=rng.choice(list(TEXTURES)), texture_seed=rng.getrandbits(16))
    return replace(subject, texture="", pattern=rng.choice(PATTERNS))
