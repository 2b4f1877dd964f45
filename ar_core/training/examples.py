"""Training pairs: which prompt goes with which picture at which step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..families.protocol import Protocol, Size
from ..text import NEUTRAL_TEMPLATES, Identifier
from .subject import Subject
from .templates import SLOT
from .top_codes import TopCodes

Pair = tuple[list[int], Tensor | np.ndarray]  # ids of a prompt, codes (rows, columns) of a picture


@dataclass(frozen=True, eq=False)
class Batch:
    """Ids (B, T) padded at the end, and the code that follows each position (B, T), -1 where none is predicted.

    `frozen` (B, codes of a picture, ...): what the frozen model expects at each code, where that is to be preserved.
    """

    ids: Tensor
    targets: Tensor
    frozen: TopCodes | None = None

    def split(self, size: int) -> list[Batch]:
        """The same pairs in batches of at most `size`."""
        ids = self.ids.split(size)
        targets = self.targets.split(size)
        frozen: Sequence[TopCodes | None] = [None] * len(ids)
        if self.frozen is not None:
            frozen = self.frozen.split(size)
        return [Batch(*part) for part in zip(ids, targets, frozen, strict=True)]


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
        templates: Sequence[str] = NEUTRAL_TEMPLATES,
    ):
        """`photo_tokens`: one auxiliary identifier per photo, mixed 1:1 with the plain prompt.

        `templates`: prompts with {} where the subject goes.
        """
        self.subject = subject
        self.batch_size = batch_size
        self.seed = seed
        self.protocol = protocol
        identifiers = (identifier, *photo_tokens)
        noun = f"{identifier.name} {subject.class_name}"

        def prompts(noun: str) -> list[list[int]]:
            filled = [template.replace(SLOT, noun) for template in templates]
            return [protocol.prompt(prompt, subject.size, identifiers) for prompt in filled]

        self.plain_prompts = prompts(noun)
        self.photo_prompts = [prompts(f"{noun} {token.name}") for token in photo_tokens]  # by photo

    def __call__(self, step: int) -> Batch:
        rng = random.Random(f"{self.seed} {step}")
        pairs = []
        for picture in self._pictures(rng, step):
            prompts = self.plain_prompts
            if self.photo_prompts and rng.random() < 0.5:
                prompts = self.photo_prompts[self.subject.photo_of[picture]]
            pairs.append((rng.choice(prompts), self.subject.codes[picture]))
        return make_training_batch(pairs, self.protocol, self.subject.size)

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

    def __init__(
        self,
        codes: Tensor,
        prompt: list[int],
        protocol: Protocol,
        size: Size,
        batch_size: int,
        seed: int,
        frozen: TopCodes | None = None,
    ):
        """`codes` (pictures, rows, columns); `prompt`: the ids that all of them follow.

        `frozen` (pictures, codes of one, ...): what the frozen model expects there, see `Batch`.
        """
        self.codes = codes
        self.prompt = prompt
        self.protocol = protocol
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.frozen = frozen

    def __call__(self, step: int) -> Batch:
        rng = random.Random(f"prior {self.seed} {step}")
        chosen = [rng.randrange(len(self.codes)) for _ in range(self.batch_size)]
        batch = make_training_batch([(self.prompt, self.codes[i]) for i in chosen], self.protocol, self.size)
        if self.frozen is None:
            return batch
        return replace(batch, frozen=self.frozen[chosen])


def make_training_batch(pairs: Sequence[Pair], protocol: Protocol, size: Size) -> Batch:
    """Prompts and pictures of one size as one padded batch."""
    ids = [prompt + protocol.image_block(codes.tolist(), size) for prompt, codes in pairs]
    width = max(len(sequence) for sequence in ids)
    padded = torch.tensor([sequence + [protocol.begin] * (width - len(sequence)) for sequence in ids], device="cpu")
    targets = padded[:, 1:] - protocol.code_base  # of a position: what follows it
    is_code = (targets >= 0) & (targets < protocol.codes)
    return Batch(padded[:, :-1], targets.where(is_code, -1))
