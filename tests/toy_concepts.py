"""Deep concepts of random values on the toy model, one or two of them."""

from __future__ import annotations

import torch
from toy import toy_model

from ar_core.model import ARModel
from ar_core.personalization import Personalization

BOTH = "a [V] dog and a [W] cat"


def concept(depth: int, images: int = 0, vectors: int = 1, seed: int = 0, class_name: str = "dog") -> Personalization:
    """A deep concept of random values."""
    values = torch.randn(2, depth, vectors + images, 16, generator=torch.Generator().manual_seed(seed))
    return Personalization(
        "[V]",
        class_name,
        values[0, :, :vectors],
        None,
        toy_model().fingerprint,
        image_vectors=values[0, :, vectors:] if images else None,
        origin=values[1],
    )


def model_of_two(depths: tuple[int, int] = (2, 2), images: int = 1, model: ARModel | None = None) -> ARModel:
    """A dog called [V] and a cat called [W]."""
    model = (model or toy_model()).personalized(concept(depths[0], images, vectors=2, seed=1))
    return model.personalized(concept(depths[1], images, seed=2, class_name="cat"), name="[W]")
