"""Training pairs: which prompt goes with which picture at which step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..families.protocol import Protocol, Size
from ..quoting import quoted
from ..text import NEUTRAL_TEMPLATES, Identifier, TextError
from .prompt_captions import captioned_templates
from .subject import Subject
from .templates import SLOT
from .top_codes import TopCodes

Pair = tuple[list[int], Tensor | np.ndarray]  # ids of a prompt, codes (rows, columns) of a picture


@dataclass(frozen=True, eq=False)
class Batch:
    """Ids (B, T) padded at the end, and the code that follows each position (B, T), -1 where none is predicted.

    `weights` (B, T): what that code weighs in the loss; None where all weigh the same. `frozen` (B, codes of a picture,
    ...): what the frozen model expects at each code, where that is to be preserved.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor | None = None
    frozen: TopCodes | None = None

    def split(self, size: int) -> list[Batch]:
        """The same pairs in batches of at most `size`."""
        return [self._part(slice(start, start + size)) for start in range(0, len(self.ids), size)]

    def _part(self, rows: slice) -> Batch:
        weights = None
        if self.weights is not None:
            weights = self.weights[rows]
        frozen = None
        if self.frozen is not None:
            frozen = self.frozen[rows]
        return Batch(self.ids[rows], self.targets[rows], weights, frozen)


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
        background_weight: float = 1.0,
    ):
        """`photo_tokens`: one auxiliary identifier per photo, mixed 1:1 with the plain prompt.

        `templates`: prompts with {} where the subject goes. `background_weight`: of codes outside the subject's masks.
        """
        self.subject = subject
        self.batch_size = batch_size
        self.seed = seed
        self.protocol = protocol
        identifiers = (identifier, *photo_tokens)
        noun = identifier.full_name

        captions = subject.captions or ("",) * subject.photos

        def prompts(noun: str, photo: int | None = None) -> list[list[int]]:
            caption = "" if photo is None else captions[photo]
            filled = [template.replace(SLOT, noun) for template in captioned_templates(templates, caption)]
            try:
                return [protocol.prompt(prompt, subject.size, identifiers) for prompt in filled]
            except TextError as error:
                if photo is None or not caption:
                    raise
                where = f"The caption of photo {photo + 1}, {quoted(caption)},"
                raise TextError(f"{where} cannot be used with these templates and vectors. {error}") from error

        self.plain_prompts = prompts(noun)
        self.captioned_prompts = {photo: prompts(noun, photo) for photo, caption in enumerate(captions) if caption}
        self.photo_prompts = [  # by photo
            prompts(f"{noun} {token.name}", photo) for photo, token in enumerate(photo_tokens)
        ]
        self.weights: Tensor | None = None
        if subject.masks is not None and background_weight != 1:
            self.weights = subject.masks.weights(background_weight)

    def __call__(self, step: int) -> Batch:
        rng = random.Random(f"{self.seed} {step}")
        pairs = []
        pictures = self._pictures(rng, step)
        for picture in pictures:
            photo = self.subject.photo_of[picture]
            prompts = self.captioned_prompts.get(photo, self.plain_prompts)
            if self.photo_prompts and rng.random() < 0.5:
                prompts = self.photo_prompts[photo]
            pairs.append((rng.choice(prompts), self.subject.codes[picture]))
        batch = make_training_batch(pairs, self.protocol, self.subject.size)
        if self.weights is None:
            return batch
        return weighted(batch, self.weights[pictures])

    def _pictures(self, rng: random.Random, step: int) -> list[int]:
        """`batch_size` pictures: the photos take turns, each shown as itself or as one of its views."""
        first = step * self.batch_size
        turns = [(first + i) % self.subject.photos for i in range(self.batch_size)]
        shown: dict[int, list[int]] = {}
        for picture, photo in enumerate(self.subject.photo_of):
            shown.setdefault(photo, []).append(picture)
        return [rng.choice(shown[photo]) for photo in turns]


def photo_identifiers(photos: int, first_id: int) -> tuple[Identifier, ...]:
    """One for each photo, of one vector each, from the reserved token `first_id` on.

    Their names hold a letter of no width, which `check_identifier_name` takes out of every name that a user writes: no
    subject can be called the same.
    """
    return tuple(Identifier(f"[photo\u200b{i}]", "", first_id + i, 1) for i in range(photos))


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


def weighted(batch: Batch, weights: Tensor) -> Batch:
    """The batch with `weights` (B, rows, columns) of its pictures' codes."""
    placed = torch.zeros(batch.targets.shape, dtype=torch.float32, device="cpu")
    placed[batch.targets >= 0] = weights.flatten()  # the codes of a sequence follow one another row by row
    return replace(batch, weights=placed)
