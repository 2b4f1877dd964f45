"""A judge of training steps (training/best_step.py) by DreamBench's encoders: likeness by the ViT, prompts by the CLIP.

The ViT alone measures likeness: it tells subjects of one class apart, where CLIP-I is high for any of them (DreamBooth,
Ruiz et al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from PIL import Image
from torch import Tensor

from ..photos import Photo
from ..training.best_step import Reading
from .encoders import Encoders
from .fidelities import fidelities
from .measures.likeness import real_images


class StepJudge:
    """Judges pictures of the subject that `photos` show. Encodes them when they are first needed."""

    def __init__(self, encoders: Encoders, photos: Sequence[Photo]):
        self.encoders = encoders
        self.photos = photos
        by_vit, _, by_words = encoders.choice.measures
        self.measures = (by_vit, by_words)
        self.key: Mapping[str, Any] = {"measures": list(self.measures), "instruments": encoders.instruments}

    def read(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Reading:
        """Mean cosine to all photos, and to their own sentence."""
        likeness, _, prompt = fidelities(self.encoders, self._embedded_photos, pictures, sentences)
        return Reading(float(likeness.mean()), float(prompt.mean()))

    def read_photos(self, sentences: Sequence[str]) -> Reading:
        """Mean cosine of different photos, 1 of a single one, and of photos to all sentences."""
        by_vit, by_clip = self._embedded_photos
        likeness = real_images(by_vit)
        if math.isnan(likeness):
            likeness = 1.0
        return Reading(likeness, float((by_clip @ self.encoders.embed_texts(sentences).T).mean()))

    @cached_property
    def _embedded_photos(self) -> tuple[Tensor, Tensor]:
        """By the ViT and by the CLIP, (photos, d) each."""
        return self.encoders.embed_images([photo.image for photo in self.photos])
