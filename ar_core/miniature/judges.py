"""Two small judges that measure the miniature: what a picture shows, and whom.

Both are supervised on drawings, blurred as the image tokenizer blurs. They are tools of one table: their numbers
compare with nothing published, and the identity judge is partly a judge of colour, so it is read together with the
place that the other one sees.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from .checkpointing import load_training, save_training
from .drawing import draw
from .scenes import ACCESSORIES, CLASSES, COLOURS, PATTERNS, PLACES, Scene, Subject, random_scene, random_subject, wild_scene

SIDE = 64  # pixels that the judges look at
ATTRIBUTES = {
    "class": CLASSES, "colour": tuple(COLOURS), "pattern": PATTERNS, "place": tuple(PLACES), "accessory": ("", *ACCESSORIES),
}  # fmt: skip
BATCH = 64


def answers(scene: Scene) -> dict[str, str]:
    """What is true of a captioned scene, by attribute."""
    subject = scene.subject
    return {
        "class": subject.kind, "colour": subject.words.split(" ")[0], "pattern": subject.pattern, "place": scene.place,
        "accessory": subject.accessory,
    }  # fmt: skip


class Eye(nn.Sequential):
    """Images (B, 3, 64, 64) in 0..1 to features (B, width)."""

    def __init__(self, width: int = 192):
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128), (128, width)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, stride=2 if outputs > 32 else 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(width * 16, width), nn.ReLU())


class AttributeJudge(nn.Module):
    """Logits for every attribute of a picture."""

    def __init__(self):
        super().__init__()
        self.eye = Eye()
        self.heads = nn.ModuleDict({name: nn.Linear(192, len(values)) for name, values in ATTRIBUTES.items()})

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
        self.head = nn.Linear(192, 64)

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
    """A picture with the softness and the small colour errors of a decoded one."""
    side = rng.randint(SIDE // 2, SIDE)
    image = image.resize((side, side), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(rng.getrandbits(30)).normal(0, rng.uniform(0, 8), (SIDE // 8, SIDE // 8, 3))
    noise = np.kron(noise, np.ones((8, 8, 1)))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


class AttributeLessons(Dataset):
    """Picture `i` of a captioned scene and its labels."""

    def __init__(self, first: int, last: int, seed: int):
        self.numbers, self.seed = range(first, last), seed

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        rng = random.Random(f"attributes {self.seed} {self.numbers[index]}")
        scene = random_scene(rng, held_out=None)
        labels = [ATTRIBUTES[name].index(value) for name, value in answers(scene).items()]
        return look([blurred(rng, draw(scene, SIDE))])[0], torch.tensor(labels)


class IdentityLessons(Dataset):
    """Pictures 2i and 2i + 1: one subject of any colour and marking, at two places."""

    def __init__(self, first: int, last: int, seed: int):
        self.numbers, self.seed = range(first, last), seed

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        number = self.numbers[index]
        subject = anyone(random.Random(f"subject {self.seed} {number // 2}"))
        rng = random.Random(f"identity {self.seed} {number}")
        return look([blurred(rng, draw(random_scene(rng, subject), SIDE))])[0], torch.tensor(0)


def anyone(rng: random.Random, kind: str | None = None) -> Subject:
    """A subject of the captioned world or outside it, of class `kind` if given."""
    while True:
        subject = wild_scene(rng).subject if rng.random() < 0.6 else random_subject(rng, held_out=None)
        if kind in (None, subject.kind):
            return subject


def train(folder: Path, steps: int, seed: int = 0, log=print) -> tuple[AttributeJudge, IdentityJudge]:
    """Train both judges, checkpointing into `folder`, and go on from a checkpoint there."""
    attributes = _train(AttributeJudge(), AttributeLessons, folder / "attribute_judge.safetensors", steps, seed, log)
    identity = _train(IdentityJudge(), IdentityLessons, folder / "identity_judge.safetensors", steps, seed, log)
    return attributes, identity


def _train(judge, lessons, path: Path, steps: int, seed: int, log):
    torch.manual_seed(seed)
    for module in judge.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1.0, weight_decay=0.01)
    start = load_training(path, judge, [optimizer], {}) if path.exists() else 0
    loader = DataLoader(lessons(start * BATCH, max(start, steps) * BATCH, seed), BATCH, num_workers=1, prefetch_factor=8)
    judge.train()
    for step, (pictures, labels) in enumerate(loader, start):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50, max(0.01, (steps - step) / (0.5 * steps)))
        loss = judge.loss(pictures, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            log(f"{path.stem} step {step}/{steps} loss {loss.item():.3f}")
        if step % 200 == 199 or step + 1 == steps:
            save_training(path, step + 1, steps, judge, [optimizer], {})
    return judge.eval()
