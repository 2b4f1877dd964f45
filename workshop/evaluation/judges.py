"""Two small judges that measure the miniature: what a picture shows, and whom.

Both are supervised on drawings, blurred as the image tokenizer blurs. They are tools of one table: their numbers
compare with nothing published, and the identity judge is partly a judge of colour, so it is read together with the
place that the other one sees.
"""

from __future__ import annotations

import random
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..making.small_training import Lesson, train_small
from ..world.drawing import draw
from ..world.scenes import (
    ACCESSORIES,
    CLASSES,
    COLOURS,
    PATTERNS,
    PLACES,
    Scene,
    Subject,
    random_scene,
    random_subject,
    wild_scene,
)

SIDE = 64  # pixels that the judges look at
ATTRIBUTES = {
    "class": CLASSES,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "place": tuple(PLACES),
    "accessory": ("", *ACCESSORIES),
}
BATCH, WIDTH = 64, 128
KINDS_AT_ONCE = 4  # classes in one batch of identities: most of the others are then of one's own class, as when judging


def answers(scene: Scene) -> dict[str, str]:
    """What is true of a captioned scene, by attribute."""
    subject = scene.subject
    return {
        "class": subject.kind,
        "colour": subject.words.split(" ")[0],
        "pattern": subject.pattern,
        "place": scene.place,
        "accessory": subject.accessory,
    }


class Eye(nn.Sequential):
    """Images (B, 3, 64, 64) in 0..1 to features (B, WIDTH)."""

    def __init__(self):
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]  # a convolution over all pixels costs five times as much
        for inputs, outputs, stride in ((12, 32, 1), (32, 64, 2), (64, 96, 2), (96, 96, 1)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96 * 16, WIDTH), nn.ReLU())


class AttributeJudge(nn.Module):
    """Logits for every attribute of a picture."""

    def __init__(self):
        super().__init__()
        self.eye = Eye()
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(values)) for name, values in ATTRIBUTES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.eye(pictures)
        return {name: head(features) for name, head in self.heads.items()}

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        return sum(F.cross_entropy(logits, labels[:, i]) for i, logits in enumerate(self(pictures).values()))

    @torch.no_grad()
    def see(self, images: list[Image.Image]) -> list[dict[str, str]]:
        """What each picture shows, in the words of `answers`."""
        chosen = {name: logits.argmax(1).tolist() for name, logits in self(look(images)).items()}
        return [{name: ATTRIBUTES[name][indices[i]] for name, indices in chosen.items()} for i in range(len(images))]


class IdentityJudge(nn.Module):
    """Unit vectors (B, 64): close for pictures of one subject."""

    def __init__(self):
        super().__init__()
        self.eye = Eye()
        self.head = nn.Linear(WIDTH, 64)

    def forward(self, pictures: Tensor) -> Tensor:
        return F.normalize(self.head(self.eye(pictures)), dim=-1)

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """InfoNCE (van den Oord et al. 2018): pictures 2i and 2i + 1 show one subject; `labels` are not needed."""
        vectors = self(pictures)
        similar = vectors[0::2] @ vectors[1::2].T / 0.1
        target = torch.arange(len(similar))
        return (F.cross_entropy(similar, target) + F.cross_entropy(similar.T, target)) / 2

    @torch.no_grad()
    def vectors(self, images: list[Image.Image]) -> Tensor:
        return self(look(images))


def look(images: list[Image.Image]) -> Tensor:
    """Pictures of any size as the judges' input."""
    small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)) for image in images]
    return torch.from_numpy(np.stack(small)).movedim(-1, 1).float() / 255


def blurred(rng: random.Random, image: Image.Image) -> Image.Image:
    """A picture with the softness and the small errors of a decoded one: coarser pixels, ripples, cells slightly off in colour."""
    side = rng.randint(SIDE // 2, SIDE)
    image = image.resize((side, side), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        file = BytesIO()
        image.save(file, "JPEG", quality=rng.randint(15, 80))
        image = Image.open(file)
    cells = SIDE // 4  # as many as an image has codes
    noise = (
        np.random.default_rng(rng.getrandbits(30))
        .normal(0, rng.uniform(0, 8), (cells, cells, 3))
        .repeat(4, 0)
        .repeat(4, 1)
    )
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def attribute_lesson(step: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of captioned scenes and the number of each attribute's value (B, attributes)."""
    pictures, labels = [], []
    for number in range(step * BATCH, (step + 1) * BATCH):
        rng = random.Random(f"attributes {seed} {number}")
        scene = random_scene(rng, held_out=None)
        pictures.append(blurred(rng, draw(scene, SIDE)))
        labels.append([ATTRIBUTES[name].index(value) for name, value in answers(scene).items()])
    return look(pictures), torch.tensor(labels)


def identity_lesson(step: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures 2i and 2i + 1 show one subject of any colour and marking, at two places; pair i's label is i."""
    rng = random.Random(f"identities {seed} {step}")
    kinds, pictures = rng.sample(CLASSES, KINDS_AT_ONCE), []
    for pair in range(BATCH // 2):
        subject = anyone(rng, kinds[pair % KINDS_AT_ONCE])
        bare = replace(subject, accessory="")
        for place in rng.sample(list(PLACES), 2):
            worn = subject if rng.random() < 0.9 else bare  # who is known by the hat alone must be known without it
            pictures.append(blurred(rng, draw(random_scene(rng, worn, place), SIDE)))
    return look(pictures), torch.arange(BATCH) // 2


def anyone(rng: random.Random, kind: str | None = None) -> Subject:
    """A subject of the captioned world or outside it, of class `kind` if given."""
    while True:
        subject = wild_scene(rng).subject if rng.random() < 0.6 else random_subject(rng, held_out=None)
        if kind in (None, subject.kind):
            return subject


def train(folder: Path, steps: int, seed: int = 0, log=print) -> tuple[AttributeJudge, IdentityJudge]:
    """Train the attribute judge for `steps` steps and the identity judge, which learns sooner, for half as many.

    Checkpoints into `folder`, and goes on from checkpoints there.
    """
    attributes = _train(AttributeJudge, attribute_lesson, folder / "attribute_judge.safetensors", steps, seed, log)
    identity = _train(
        IdentityJudge, identity_lesson, folder / "identity_judge.safetensors", (steps + 1) // 2, seed, log
    )
    return attributes, identity


def _train(kind: type[nn.Module], lesson: Lesson, path: Path, steps: int, seed: int, log):
    torch.manual_seed(seed)
    return train_small(kind(), lesson, path, steps, rate=2e-3, warm_up=50, weight_decay=0.01, seed=seed, log=log)
