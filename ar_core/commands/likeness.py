"""How alike pictures of a training in progress are to the photos and to their prompts: cosines, as in DreamBench."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from ..dreambench.encoders import MINIATURE_ENCODERS, PAPER_ENCODERS, Encoders
from ..dreambench.fidelities import fidelities
from ..families.family import Family
from ..families.miniature import MINIATURE
from ..photos import Photo
from ..text import without_identifier


def encoders_for_samples(options: argparse.Namespace, family: Family) -> Encoders | None:
    """Those of --dino and --clip, or the miniature's own for the miniature; None for other models without them.

    On the CPU, where they take nothing from the training.
    """
    if options.dino is not None or options.clip is not None:
        vit = options.dino or PAPER_ENCODERS.vit
        clip = options.clip or PAPER_ENCODERS.clip
        return Encoders.load(replace(PAPER_ENCODERS, vit=vit, clip=clip))
    if family.name == MINIATURE.name:
        return Encoders.load(MINIATURE_ENCODERS)
    return None


class Likeness:
    """A Measure (see training/log_folder.py): the mean cosine of a picture to all photos, and that to its prompt."""

    def __init__(self, encoders: Encoders, photos: Sequence[Photo], class_name: str):
        self.encoders = encoders
        self.photos = encoders.embed_images([photo.image for photo in photos])  # (photos, d) by each encoder
        self.class_name = class_name

    def __call__(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[dict[str, float]]:
        """By picture: the encoders' names of their measures, and the numbers."""
        sentences = [without_identifier(prompt, self.class_name) for prompt in prompts]
        columns = fidelities(self.encoders, self.photos, pictures, sentences)
        names = self.encoders.choice.measures
        return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]
