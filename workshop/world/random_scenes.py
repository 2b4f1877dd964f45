"""Scenes of one subject, drawn by lot."""

from __future__ import annotations

import random

from .random_subjects import random_subject
from .scenes import Placed, Scene, Subject
from .vocabulary import PLACES


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
    subject = subject or random_subject(rng, kind, held_out)
    place = place or rng.choice(list(PLACES))
    placed = Placed(
        subject,
        x=rng.uniform(0.44, 0.56),
        y=rng.uniform(0.54, 0.59),
        size=rng.uniform(0.64, 0.76),
        flip=rng.random() < 0.5,
    )
    return Scene(
        (placed,),
        place,
        seed=rng.getrandbits(30),
        zoom=rng.uniform(1.0, 1.14),
        pan=(rng.random(), rng.random()),
    )
