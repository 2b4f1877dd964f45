"""Scenes of two subjects side by side, drawn by lot."""

from __future__ import annotations

import random

from .random_subjects import free_subject, training_subject
from .scenes import Placed, Scene, Subject
from .vocabulary import PLACES

ONE_IS_FREE = 0.12  # share of pairs of which a caption has no adjectives for one


LEFT = (0.25, 0.275)  # where one stands, as a share of the width
RIGHT = (0.725, 0.75)


def pair_scene(rng: random.Random, subjects: tuple[Subject, Subject] | None = None, place: str | None = None) -> Scene:
    """Place two subjects side by side; captions name first what comes first in `subjects`, wherever it stands.

    They are drawn where not given. Each is smaller than one alone would be, and the camera cuts neither.
    """
    first, second = subjects or random_pair(rng)
    place = place or rng.choice(list(PLACES))
    sides = [LEFT, RIGHT]
    rng.shuffle(sides)
    placed = (_placed(rng, first, sides[0]), _placed(rng, second, sides[1]))
    return Scene(placed, place, seed=rng.getrandbits(30))


def random_pair(rng: random.Random) -> tuple[Subject, Subject]:
    """Two training subjects that words can tell apart. Now and then one of them is free."""
    while True:
        pair = [training_subject(rng), training_subject(rng)]
        if rng.random() < ONE_IS_FREE:
            pair[0] = free_subject(rng)
        rng.shuffle(pair)
        if told_apart(*pair):
            return pair[0], pair[1]


def told_apart(one: Subject, other: Subject) -> bool:
    """Whether captions can tell which is which: by their classes, or by what they call their colours."""
    if one.kind != other.kind:
        return True
    if not one.words or not other.words:
        return False
    return one.words.split(" ")[0] != other.words.split(" ")[0]


def _placed(rng: random.Random, subject: Subject, side: tuple[float, float]) -> Placed:
    width, _ = subject.stretch
    return Placed(
        subject,
        x=rng.uniform(*side),
        y=rng.uniform(0.52, 0.66),
        size=rng.uniform(0.42, 0.47) / max(1.0, width),  # what is wide must fit, too
        flip=rng.random() < 0.5,
    )
