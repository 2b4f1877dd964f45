"""Three small judges that measure the miniature: what a picture shows, whom, and who stands left and who right.

All are supervised on drawings, blurred as the image tokenizer blurs. They are tools of one table: their numbers
compare with nothing published, and the identity judge is partly a judge of colour, so it is read together with the
place and the marking that the attribute judge sees.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..making.facts import ATTRIBUTES, SIDE_ATTRIBUTES, SIDES
from ..making.lessons import UNKNOWN
from ..making.losses import pair_loss
from ..making.softness import FINE_SIDE, pictures_as_input

WIDTH = 128  # features
GRID = 4  # of averages over a picture
HALF = 54  # pixels of FINE_SIDE that show one side: a little more than half, so that nobody is cut off


class Eye(nn.Module):
    """Images (B, 3, height, width) in 0..1, of 50 to 100 pixels a side, to features (B, WIDTH).

    It averages over a grid of GRID x GRID, which tells what stands where, and takes the maximum over all places: a
    marking of a few pixels is lost in an average.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]  # a convolution over all pixels costs five times as much
        for inputs, outputs, stride in ((12, 32, 1), (32, 64, 2), (64, 96, 2), (96, 96, 1)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.features = nn.Linear(96 * (GRID**2 + 1), WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.convolutions(images)  # (B, 96, height / 8, width / 8)
        averages = F.adaptive_avg_pool2d(seen, GRID).flatten(1)
        strongest = seen.amax((2, 3))
        return F.relu(self.features(torch.cat([averages, strongest], 1)))


def heads_of(attributes: dict[str, tuple[str, ...]]) -> nn.ModuleDict:
    """A linear layer for each attribute: features to logits of its values."""
    return nn.ModuleDict({name: nn.Linear(WIDTH, len(values)) for name, values in attributes.items()})


def labels_loss(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy summed over attributes; `labels` (B, attributes), UNKNOWN where nothing is asked."""
    total = torch.zeros((), device=labels.device)
    for index, by_value in enumerate(logits.values()):
        asked = labels[:, index] != UNKNOWN
        if asked.any():  # else the mean over nothing would be NaN
            total = total + F.cross_entropy(by_value[asked], labels[asked, index])
    return total


def answers_of(logits: dict[str, Tensor], attributes: dict[str, tuple[str, ...]]) -> list[dict[str, str]]:
    """The likeliest value of every attribute, for each row of the logits."""
    chosen = {name: by_value.argmax(1).tolist() for name, by_value in logits.items()}
    rows = len(next(iter(chosen.values())))
    return [{name: attributes[name][indices[row]] for name, indices in chosen.items()} for row in range(rows)]


class AttributeJudge(nn.Module):
    """Logits for every attribute of a picture (B, 3, FINE_SIDE, FINE_SIDE) of one subject."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = Eye()
        self.heads = heads_of(ATTRIBUTES)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.eye(pictures)
        return {name: head(features) for name, head in self.heads.items()}

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Of an attribute lesson."""
        return labels_loss(self(pictures), labels)

    @torch.no_grad()
    def answers(self, images: list[Image.Image]) -> list[dict[str, str]]:
        """What each picture shows, in the words of `scene_attributes`."""
        return answers_of(self(pictures_as_input(images, FINE_SIDE)), ATTRIBUTES)


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


class PairJudge(nn.Module):
    """Logits for what stands at either side of a picture: one eye looks at each half by itself.

    So it can only tell sides apart by looking there, and what it learns at one side it knows at the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.eye = Eye()
        self.heads = heads_of(SIDE_ATTRIBUTES)

    def forward(self, pictures: Tensor) -> dict[str, dict[str, Tensor]]:
        """By side and attribute; `pictures` (B, 3, FINE_SIDE, FINE_SIDE)."""
        halves = torch.cat([pictures[..., :HALF], pictures[..., -HALF:]])  # (2B, 3, FINE_SIDE, HALF), left ones first
        features = self.eye(halves).chunk(len(SIDES))
        return {
            side: {name: head(seen) for name, head in self.heads.items()}
            for side, seen in zip(SIDES, features, strict=True)
        }

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Of a pair lesson; `labels` (B, 2, side's attributes)."""
        total = torch.zeros((), device=labels.device)
        for index, logits in enumerate(self(pictures).values()):
            total = total + labels_loss(logits, labels[:, index])
        return total

    @torch.no_grad()
    def answers(self, images: list[Image.Image]) -> list[dict[str, dict[str, str]]]:
        """What stands at either side of each picture, in the words of `side_attributes`."""
        logits = self(pictures_as_input(images, FINE_SIDE))
        by_side = [answers_of(logits[side], SIDE_ATTRIBUTES) for side in SIDES]
        return [dict(zip(SIDES, both, strict=True)) for both in zip(*by_side, strict=True)]
