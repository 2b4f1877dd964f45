"""Galleries of reference pictures: whose is a new picture nearest to?"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ..making.softness import SIDE
from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.scenes import Subject
from .judges import IdentityJudge

REFERENCES = 4  # pictures of each subject


def reference_vectors(
    judge: IdentityJudge, rng: random.Random, subjects: Sequence[Subject], places: Sequence[str]
) -> list[Tensor]:
    """Each subject's reference pictures as vectors, all at the same places so that no place speaks for anyone."""
    return [
        judge.vectors([draw_scene(random_scene(rng, subject, place), SIDE) for place in places]) for subject in subjects
    ]


def is_nearest_to_first(judge: IdentityJudge, picture: Image.Image, gallery: Sequence[Tensor]) -> bool:
    """Whether gallery entry 0 is nearest to the picture, by its mean similarity to an entry's references."""
    vector = judge.vectors([picture])[0]
    similarities = torch.stack([(references @ vector).mean() for references in gallery])
    return int(similarities.argmax()) == 0
