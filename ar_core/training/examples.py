"""Training pairs: which prompt goes with which picture at which step."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..families.protocol import Protocol, Size
from ..text import NEUTRAL_TEMPLATES, Identifier
from .subject import Subject


@dataclass(frozen=True, eq=False)
class Batch:
    """Ids (B, T) padded at the end, and the code that follows each position (B, T), -1 where none is predicted."""

    ids: Tensor
    targets: Tensor

    def split(self, size: int) -> list[Batch]:
        return [Batch(ids, targets) for ids, targets in zip(self.ids.split(size), self.targets.split(size))]


class Examples:
    """Batch number `step` depends on (seed, step) alone: no total, no history, nothing to save for a resume."""

    def __init__(
        self,
        subject: Subject,
        protocol: Protocol,
        identifier: Identifier,
        batch_size: int,
        seed: int,
        photo_tokens: tuple[Identifier, ...] = (),
    ):
        """`photo_tokens`: one auxiliary identifier per photo, mixed 1:1 with the plain prompt."""
        self.subject, self.batch_size, self.seed = subject, batch_size, seed
        self.protocol = protocol
        nouns = [f"{identifier.name} {subject.class_name}"]
        nouns += [f"{identifier.name} {subject.class_name} {token.name}" for token in photo_tokens]
        self.prompts = [
            [
                protocol.prompt(template.format(noun), subject.size, (identifier, *photo_tokens))
                for template in NEUTRAL_TEMPLATES
            ]
            for noun in nouns
        ]

    def __call__(self, step: int) -> Batch:
        rng = random.Random(f"{self.seed} {step}")
        sequences = []
        for picture in self._pictures(rng, step):
            mixed = len(self.prompts) > 1 and rng.random() < 0.5
            prompts = self.prompts[1 + self.subject.photo_of[picture]] if mixed else self.prompts[0]
            sequences.append((rng.choice(prompts), self.subject.codes[picture]))
        return make_batch(sequences, self.protocol, self.subject.size)

    def _pictures(self, rng: random.Random, step: int) -> list[int]:
        """`batch_size` pictures: the photos take turns, each shown as itself or as one of its views."""
        first = step * self.batch_size
        turns = [(first + i) % self.subject.photos for i in range(self.batch_size)]
        shown: dict[int, list[int]] = {}
        for picture, photo in enumerate(self.subject.photo_of):
            shown.setdefault(photo, []).append(picture)
        return [rng.choice(shown[photo]) for photo in turns]


class PriorExamples:
    """Pairs that remind the model of the class (Ruiz et al. 2023): its own pictures with the plain prompt."""

    def __init__(self, codes: Tensor, prompt: list[int], protocol: Protocol, size: Size, batch_size: int, seed: int):
        self.codes, self.prompt, self.protocol, self.size = codes, prompt, protocol, size
        self.batch_size, self.seed = batch_size, seed

    def __call__(self, step: int) -> Batch:
        rng = random.Random(f"prior {self.seed} {step}")
        chosen = [rng.randrange(len(self.codes)) for _ in range(self.batch_size)]
        return make_batch([(self.prompt, self.codes[i]) for i in chosen], self.protocol, self.size)


def make_batch(sequences: list[tuple[list[int], Tensor | np.ndarray]], protocol: Protocol, size: Size) -> Batch:
    """Prompt ids and code grids (rows, columns) to one padded batch."""
    ids = [prompt + protocol.image_block(codes.tolist(), size) for prompt, codes in sequences]
    width = max(map(len, ids))
    padded = torch.tensor([row + [protocol.begin] * (width - len(row)) for row in ids])
    targets = padded[:, 1:] - protocol.code_base
    targets = targets.where((targets >= 0) & (targets < protocol.codes), -1)
    return Batch(padded[:, :-1], targets)
