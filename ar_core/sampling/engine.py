"""The decoding engine: a batch of sequences in one static cache, guided and unguided ones side by side.

Sequences 0..n-1 hold the n images with their prompts, sequences n..2n-1 the same images unguided (positions from 0).
Their lengths differ; every sequence knows where its next token stands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..concepts import Concepts
from ..families.protocol import Protocol, Size
from ..transformer import Transformer
from .steps import ALIGNED, KeptSteps, StepOptions, Steps, next_multiple


class NothingToDraw(ValueError):
    """The model's numbers for what comes next are not finite, or all the same: pictures would be noise."""


def check_numbers(logits: Tensor) -> None:
    """Raises NothingToDraw where logits (images, codes) are not finite, or all the same."""
    spread = logits.amax(-1) - logits.amin(-1)  # NaN where a number is not finite
    if not (spread.isfinite() & (spread > 0)).all():
        raise NothingToDraw(
            "The model gives no numbers to draw from: they are not finite, or all the same. Load it in bf16 or fp32, "
            "or copy its files again."
        )


class Engine:
    """Feeds tokens to the transformer and returns guided logits for what comes next."""

    def __init__(
        self,
        transformer: Transformer,
        protocol: Protocol,
        prompts: list[list[int]],
        size: Size,
        cfg: float,
        concepts: Concepts | None = None,
        spare: int = 0,
        options: StepOptions | None = None,
        kept: KeptSteps | None = None,
    ):
        """Make room for one image of `size` per prompt.

        `prompts`: the ids before the first code, one list per image. `concepts`: what stands for their reserved tokens.
        `spare`: slots of the cache behind the image's last token, for looking ahead. `kept`: where recordings wait for
        the next picture; None makes steps for this one alone. Raises ValueError as `StepOptions.check` does.
        """
        self.protocol = protocol
        self.layout = protocol.layout(size)
        self.concepts = concepts
        self.images = len(prompts)
        self.sequences = list(prompts)
        if cfg != 1:
            self.sequences += [protocol.unguided(prompt) for prompt in prompts]
        self.device = transformer.device
        slots = max(map(len, self.sequences)) + self.layout.padded_length + spare
        slots = next_multiple(slots, ALIGNED)
        shape = (transformer, len(self.sequences), slots, cfg, options or StepOptions())
        if kept is None:
            self.steps = Steps(*shape)
        else:
            self.steps = kept.get(*shape)

    def prefill(self) -> Tensor:
        """Start (over): read prompts and headers; returns the guided logits (images, codes) of the first code.

        Raises NothingToDraw. That is looked for here alone: the host waits for the device once per batch of pictures.
        """
        count = len(self.sequences)
        self.lengths = torch.tensor([len(s) for s in self.sequences], device=self.device)  # (sequences,)
        self.longest = max(map(len, self.sequences))
        padded = [s + [0] * (self.longest - len(s)) for s in self.sequences]
        ids = torch.tensor(padded, device=self.device)  # (sequences, longest)
        positions = torch.arange(self.longest, device=self.device).expand(count, -1)
        logits = self.steps.read(ids, positions, self.lengths, self.concepts)
        if not logits.is_meta:  # there operations are counted (benchmarks/launches.py), and nothing has a value
            check_numbers(logits)
        return logits

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens (images, T) to every image; returns guided logits (images, T, codes) after each of them."""
        count = tokens.shape[1]
        ids = self._for_all(tokens)
        positions = self.lengths[:, None] + torch.arange(count, device=self.device)
        self.longest += count
        logits = self.steps(ids, positions, self.longest)
        self.lengths = self.lengths + count
        return logits

    def last_of_header(self) -> Tensor:
        """The token (images, 1) after which the first code comes."""
        return torch.full((self.images, 1), self.sequences[0][-1], device=self.device)

    def look_ahead(self, tokens: Tensor, done: Tensor, most: int) -> Tensor:
        """Guided logits (images, T, codes) after each of `tokens` (images, T), of which only the first is final.

        It is the last of an image's `done` (images,) tokens behind the header, or the header's own last; nothing
        advances. `most`: the largest of `done`, as a number.
        """
        count = tokens.shape[1]
        ids = self._for_all(tokens)
        starts = self.lengths - 1 + self._for_all(done)
        positions = starts[:, None] + torch.arange(count, device=self.device)
        return self.steps(ids, positions, self.longest + most + count - 1)

    def _for_all(self, per_image: Tensor) -> Tensor:
        """Values of each image (images, ...) for each sequence (sequences, ...): the unguided ones draw the same."""
        if self.steps.guided:
            return torch.cat([per_image, per_image])
        return per_image
