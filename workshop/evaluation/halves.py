"""Who stands in each half of a picture of two: by the scorers' embeddings, against photos and against others.

Both halves are cut as squares around where the world puts its pairs, so that a subject fills one as it fills a photo.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ar_core.dreambench.encoders import Encoders

from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from .personalized_pictures import Unseen
from .pictures import SIZE, distractors

SQUARE = 0.56  # of a side: a little more than half, so that nobody is cut off
TOP = 0.32  # of a side: where the squares begin


@dataclass(frozen=True)
class Half:
    """One half of a picture: how alike it is to the photos of its own subject and of the other one (mean cosine).

    `retrieved`: nearer to its own photos than to the other's. `identified`: nearer to them than to every other of its
    class, too.
    """

    own: float
    other: float
    retrieved: bool
    identified: bool


def halves_of(picture: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The left and the right half."""
    side = round(SQUARE * picture.width)
    top = round(TOP * picture.height)
    right = picture.width - side
    return picture.crop((0, top, side, top + side)), picture.crop((right, top, picture.width, top + side))


@dataclass(frozen=True, eq=False)
class Gallery:
    """Embeddings of a subject's photos (n, width), and of others of its class, one such tensor each."""

    photos: Tensor
    others: list[Tensor]

    @classmethod
    def of(cls, scorers: Encoders, unseen: Unseen) -> Gallery:
        """Others of its class are drawn at the places of the photos: no place speaks for anyone."""
        rng = random.Random(f"halves {unseen.name}")
        others = []
        for subject in distractors(rng, unseen.subject):
            pictures = [draw_scene(random_scene(rng, subject, place), SIZE) for place in unseen.seen]
            others.append(scorers.embed_by_vit(pictures))
        return cls(scorers.embed_by_vit(unseen.photos), others)


def measured_halves(scorers: Encoders, pictures: Sequence[Image.Image], own: Gallery, other: Gallery) -> list[Half]:
    """Of halves that should show `own`, where the other half should show `other`."""
    found = []
    for vector in scorers.embed_by_vit(pictures):
        to_own = likeness(vector, own.photos)
        to_other = likeness(vector, other.photos)
        nearest_of_class = max(likeness(vector, references) for references in own.others)
        retrieved = to_own > to_other
        found.append(Half(to_own, to_other, retrieved, retrieved and to_own > nearest_of_class))
    return found


def likeness(vector: Tensor, references: Tensor) -> float:
    """The mean cosine of unit vectors: one against several."""
    return float(torch.mean(references @ vector))
