"""Pictures that evaluations share: held-out scenes, others of a class, what the image tokenizer makes of a picture."""

from __future__ import annotations

import random

from PIL import Image

from ar_core.model import ARModel
from ar_core.photos import stack, unstack

from ..making.lessons import captioned_pair
from ..making.siblings import any_subject, sibling
from ..world.pairs import pair_scene
from ..world.random_scenes import random_scene
from ..world.scenes import Scene, Subject

SIZE = 96  # pixels of the miniature's pictures
CELL = 144  # pixels of a sheet's pictures
BATCH = 16  # pictures at once
DISTRACTORS = 15  # of a subject's own class
SIBLINGS = 3  # others that differ from a subject in its marking or its skin alone


def held_out_scenes(count: int, seed: str) -> list[Scene]:
    """Scenes whose class, colour and pattern never occurred together in training."""
    rng = random.Random(seed)
    return [random_scene(rng, held_out=True) for _ in range(count)]


def paired_scenes(count: int, seed: str, held_out: bool) -> list[Scene]:
    """Scenes of two captioned subjects: combinations that training shows, or both such as it leaves out."""
    rng = random.Random(f"{seed}, held out: {held_out}")
    return [pair_scene(rng, captioned_pair(rng, held_out)) for _ in range(count)]


def distractors(rng: random.Random, subject: Subject) -> list[Subject]:
    """Others of its class that a subject must be told from; the last SIBLINGS have its colours."""
    others = [any_subject(rng, subject.kind) for _ in range(DISTRACTORS)]
    return others + [sibling(rng, subject) for _ in range(SIBLINGS)]


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
