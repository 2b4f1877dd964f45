"""Pictures that evaluations share: held-out scenes, others of a class, what the image tokenizer makes of a picture."""

from __future__ import annotations

import random

from PIL import Image

from ar_core.model import ARModel
from ar_core.photos import stack, unstack

from ..making.lessons import any_subject
from ..world.random_scenes import random_scene
from ..world.scenes import Scene, Subject

BATCH = 16  # pictures at once
DISTRACTORS = 15  # of a subject's own class


def held_out_scenes(count: int, seed: str) -> list[Scene]:
    """Scenes whose class, colour and pattern never occurred together in training."""
    rng = random.Random(seed)
    return [random_scene(rng, held_out=True) for _ in range(count)]


def distractors_of_class(rng: random.Random, kind: str) -> list[Subject]:
    """Others that a subject of this class must be told from."""
    return [any_subject(rng, kind) for _ in range(DISTRACTORS)]


def reconstructed_pictures(model: ARModel, images: list[Image.Image]) -> list[Image.Image]:
    """Every picture after encoding and decoding."""
    pictures = []
    for start in range(0, len(images), BATCH):
        codes = model.encode(stack(images[start : start + BATCH]))
        pictures += unstack(model.decode(codes))
    return pictures


def reconstruction_psnr(model: ARModel, images: list[Image.Image]) -> list[float]:
    """PSNR of each picture after encoding and decoding."""
    errors = (stack(reconstructed_pictures(model, images)) - stack(images)).square().mean((1, 2, 3))
    return (-10 * errors.clamp_min(1e-10).log10()).tolist()
