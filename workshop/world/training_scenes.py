"""The mixture of scenes that trainings see. Nothing reserved is among them (reserved.py)."""

from __future__ import annotations

import random
from dataclasses import replace

from .colours import any_colour
from .pairs import pair_scene
from .random_scenes import random_scene
from .random_subjects import free_subject, training_subject
from .scenes import Scene, Subject

NAMED = 0.55  # share of scenes with one subject that the caption describes
FREE = 0.27  # share of scenes with one subject of which the caption says the class alone; the rest shows two
WILD_PAIRS = 0.2  # share of wild scenes with two subjects


def training_scene(rng: random.Random) -> Scene:
    """A scene to train on: one named subject, one free one, or two side by side."""
    lot = rng.random()
    if lot < NAMED:
        return random_scene(rng, training_subject(rng))
    if lot < NAMED + FREE:
        return random_scene(rng, free_subject(rng))
    return pair_scene(rng)


def wild_scene(rng: random.Random) -> Scene:
    """A scene with colours and shapes that no caption knows, so the image tokenizer can draw unseen subjects."""
    if rng.random() < WILD_PAIRS:
        scene = pair_scene(rng, (_wild_subject(rng), _wild_subject(rng)))
    else:
        scene = random_scene(rng, _wild_subject(rng))
    return replace(scene, overlays=rng.randint(0, 4))


def _wild_subject(rng: random.Random) -> Subject:
    """Even what it wears has a colour that no caption knows."""
    return replace(free_subject(rng), accessory_colour=any_colour(rng), accessory_words="")
