"""Numbered lessons for judges and scorers: pictures with the softness of decoded ones, and what is true of them."""

from __future__ import annotations

import random
from dataclasses import replace
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.random_subjects import free_subject, random_subject
from ..world.reserved import resembles_unseen
from ..world.scenes import Scene, Subject
from ..world.vocabulary import ACCESSORIES, CLASSES, COLOURS, PATTERNS, PLACES

SIDE = 64  # pixels of a picture
BATCH = 64
KINDS_AT_ONCE = 4  # classes in one batch of identities: most of the others are then of one's own class, as when judging
FREE = 0.6  # share of subjects outside the captioned world
# What a captioned scene has, and the values of each.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "class": CLASSES,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "place": tuple(PLACES),
    "accessory": ("", *ACCESSORIES),
}


def scene_attributes(scene: Scene) -> dict[str, str]:
    """What is true of a captioned scene, by attribute."""
    subject = scene.subject
    return {
        "class": subject.kind,
        "colour": subject.words.split(" ")[0],
        "pattern": subject.pattern,
        "place": scene.place,
        "accessory": subject.accessory,
    }


def pictures_as_input(images: list[Image.Image]) -> Tensor:
    """Pictures of any size as (n, 3, SIDE, SIDE) in 0..1."""
    small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)) for image in images]
    return torch.from_numpy(np.stack(small)).movedim(-1, 1).float() / 255


def blurred_like_decoded(rng: random.Random, image: Image.Image) -> Image.Image:
    """A picture with the softness and the small errors of a decoded one.

    Coarser pixels, the ripples of a JPEG, cells slightly off in colour.
    """
    side = rng.randint(SIDE // 2, SIDE)
    image = image.resize((side, side), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        file = BytesIO()
        image.save(file, "JPEG", quality=rng.randint(15, 80))
        image = Image.open(file)
    cells = SIDE // 4  # as many as an image has codes
    numbers = np.random.default_rng(rng.getrandbits(30))
    noise = numbers.normal(0, rng.uniform(0, 8), (cells, cells, 3)).repeat(4, 0).repeat(4, 1)
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def attribute_lesson(step: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of captioned scenes and the number of each attribute's value (B, attributes)."""
    pictures = []
    labels = []
    for number in range(step * BATCH, (step + 1) * BATCH):
        rng = random.Random(f"attributes {seed} {number}")
        scene = random_scene(rng, held_out=None)
        pictures.append(blurred_like_decoded(rng, draw_scene(scene, SIDE)))
        labels.append([ATTRIBUTES[name].index(value) for name, value in scene_attributes(scene).items()])
    return pictures_as_input(pictures), torch.tensor(labels)


def identity_lesson(step: int, seed: int) -> tuple[Tensor]:
    """Pictures 2i and 2i + 1 show one subject of any colours, skin and marking, at two places."""
    rng = random.Random(f"identities {seed} {step}")
    kinds = rng.sample(CLASSES, KINDS_AT_ONCE)
    pictures = []
    for pair in range(BATCH // 2):
        subject = any_subject(rng, kinds[pair % KINDS_AT_ONCE])
        for place in rng.sample(list(PLACES), 2):
            shown = subject
            if rng.random() >= 0.9:  # who is recognised by the hat alone must be recognised without it
                shown = replace(subject, accessory="")
            pictures.append(blurred_like_decoded(rng, draw_scene(random_scene(rng, shown, place), SIDE)))
    return (pictures_as_input(pictures),)


def any_subject(rng: random.Random, kind: str | None = None) -> Subject:
    """A subject of the captioned world or outside it, of class `kind` if given; none that evaluations personalize."""
    if rng.random() < FREE:
        return free_subject(rng, kind)
    while True:
        subject = random_subject(rng, kind, held_out=None)
        if not resembles_unseen(subject):
            return subject
