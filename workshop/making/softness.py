"""Pictures as judges and scorers see them: small, and in lessons with the softness of decoded ones."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 64  # pixels of a picture of one subject
FINE_SIDE = 96  # of two, each then as large as one alone; or of one whose marking has to be seen
CODES = 16  # of an image, along a side


def pictures_as_input(images: list[Image.Image], side: int = SIDE) -> Tensor:
    """Pictures of any size as (n, 3, side, side) in 0..1."""
    small = [np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BOX)) for image in images]
    return torch.from_numpy(np.stack(small)).movedim(-1, 1).float() / 255


def blurred_like_decoded(rng: random.Random, image: Image.Image) -> Image.Image:
    """A square picture with the softness and the small errors of a decoded one.

    Coarser pixels, the ripples of a JPEG, cells slightly off in colour.
    """
    full = image.width
    side = rng.randint(full // 2, full)
    image = image.resize((side, side), Image.Resampling.BOX).resize((full, full), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        file = BytesIO()
        image.save(file, "JPEG", quality=rng.randint(15, 80))
        image = Image.open(file)
    cell = full // CODES
    numbers = np.random.default_rng(rng.getrandbits(30))
    noise = numbers.normal(0, rng.uniform(0, 8), (CODES, CODES, 3)).repeat(cell, 0).repeat(cell, 1)
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
