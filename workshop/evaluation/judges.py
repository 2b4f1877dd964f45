"""Two small judges that measure the miniature: what a picture shows, and whom.

Both are supervised on drawings, blurred as the image tokenizer blurs. They are tools of one table: their numbers
compare with nothing published, and the identity judge is partly a judge of colour, so it is read together with the
place that the other one sees.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..making.lessons import ATTRIBUTES, attribute_lesson, identity_lesson, pictures_as_input
from ..making.loop import Lesson, Log, Step, Training, with_peak
from ..making.losses import pair_loss
from ..making.schedules import warm_up_and_fall

WIDTH = 128  # features
LEARNING_RATE = 2e-3
WARM_UP = 50  # steps


class Eye(nn.Sequential):
    """Images (B, 3, 64, 64) in 0..1 to features (B, WIDTH)."""

    def __init__(self) -> None:
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]  # a convolution over all pixels costs five times as much
        for inputs, outputs, stride in ((12, 32, 1), (32, 64, 2), (64, 96, 2), (96, 96, 1)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96 * 16, WIDTH), nn.ReLU())


class AttributeJudge(nn.Module):
    """Logits for every attribute of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = Eye()
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(values)) for name, values in ATTRIBUTES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.eye(pictures)
        return {name: head(features) for name, head in self.heads.items()}

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of all attributes; `labels` (B, attributes)."""
        total = torch.zeros(())
        for index, logits in enumerate(self(pictures).values()):
            total = total + F.cross_entropy(logits, labels[:, index])
        return total

    @torch.no_grad()
    def answers(self, images: list[Image.Image]) -> list[dict[str, str]]:
        """What each picture shows, in the words of `scene_attributes`."""
        chosen = {name: logits.argmax(1).tolist() for name, logits in self(pictures_as_input(images)).items()}
        return [{name: ATTRIBUTES[name][indices[i]] for name, indices in chosen.items()} for i in range(len(images))]


class IdentityJudge(nn.Module):
    """Unit vectors (B, 64): close for pictures of one subject."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = Eye()
        self.head = nn.Linear(WIDTH, 64)

    def forward(self, pictures: Tensor) -> Tensor:
        return F.normalize(self.head(self.eye(pictures)), dim=-1)

    def loss(self, pictures: Tensor) -> Tensor:
        """`pictures` (B, 3, 64, 64), of which 2i and 2i + 1 show one subject."""
        return pair_loss(self(pictures))

    @torch.no_grad()
    def vectors(self, images: list[Image.Image]) -> Tensor:
        """Of pictures of any size (n, 64)."""
        return self(pictures_as_input(images))


def train_judges(folder: Path, steps: int, seed: int = 0, log: Log = print) -> tuple[AttributeJudge, IdentityJudge]:
    """Train the attribute judge for `steps` steps and the identity judge, which learns sooner, for half as many.

    Checkpoints into `folder`, and goes on from checkpoints there.
    """
    torch.manual_seed(seed)
    attributes = AttributeJudge()
    train_judge(attributes, attribute_lesson, folder / "attribute_judge.safetensors", steps, seed, log)
    torch.manual_seed(seed)
    identity = IdentityJudge()
    train_judge(identity, identity_lesson, folder / "identity_judge.safetensors", (steps + 1) // 2, seed, log)
    return attributes, identity


def train_judge(
    judge: AttributeJudge | IdentityJudge, lesson: Lesson, path: Path, steps: int, seed: int, log: Log
) -> None:
    """Train a judge to the end, from its checkpoint at `path` where there is one."""

    def compute(step: int) -> Step:
        loss = judge.loss(*lesson(step, seed))
        return Step(loss, loss.item())

    optimizer = torch.optim.AdamW(judge.parameters(), lr=1.0, weight_decay=0.01)
    training = Training(
        judge,
        [with_peak(optimizer, LEARNING_RATE)],
        path,
        steps,
        compute,
        schedule=lambda step: warm_up_and_fall(step, steps, WARM_UP, 0.5 * steps),
        log=log,
    )
    training.run(training.resume())
    judge.eval()
