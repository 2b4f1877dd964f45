"""The decoding engine: a batch of sequences in one static cache, guided and unguided ones side by side.

Sequences 0..n-1 hold the n images with their prompts, sequences n..2n-1 the same images unguided (positions from 0).
Their lengths differ; every sequence knows where its next token stands.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from ..cache import KVCache
from ..families.protocol import Protocol, Size
from ..transformer import Transformer
from .graphs import Graphs
from .rule import guide

BUCKET = 128  # attention reads the cache up to the next multiple: few shapes, little waste
ALIGNED = 16  # slots; an attention mask of another length would be padded in every layer on a graphics card


class Engine:
    """Feeds tokens to the transformer and returns guided logits for what comes next."""

    def __init__(
        self,
        transformer: Transformer,
        protocol: Protocol,
        prompts: list[list[int]],
        size: Size,
        cfg: float,
        vectors: Tensor | None = None,
        spare: int = 0,
        graphs: bool = False,
        compiled: bool = False,
    ):
        """Make room for one image of `size` per prompt.

        `prompts`: the ids before the first code, one list per image. `vectors` (N, hidden): learned vectors over the
        reserved tokens. `spare`: slots of the cache behind the image's last token, for looking ahead. `graphs`: replay
        steps on CUDA. `compiled`: run steps through torch.compile, whose first steps of a shape take long.
        """
        self.transformer = transformer
        self.protocol = protocol
        self.layout = protocol.layout(size)
        self.cfg = cfg
        self.vectors = vectors
        self.images = len(prompts)
        self.sequences = list(prompts)
        if self.guided:
            self.sequences += [protocol.unguided(prompt) for prompt in prompts]
        self.device = transformer.device
        self.dtype = transformer.dtype
        slots = max(map(len, self.sequences)) + self.layout.padded_length + spare
        slots = next_multiple(slots, ALIGNED)
        self.cache = KVCache(transformer.config, len(self.sequences), slots, self.device, self.dtype)
        self.compiled = compiled
        self.graphs: Graphs | None = None
        if graphs and self.device.type == "cuda":
            self.graphs = Graphs(transformer.parameters, self.device)

    @property
    def guided(self) -> bool:
        """Whether there are unguided sequences; at guidance 1 they would cancel out."""
        return self.cfg != 1

    def prefill(self) -> Tensor:
        """Start (over): read prompts and headers; returns the guided logits (images, codes) of the first code."""
        count = len(self.sequences)
        self.lengths = torch.tensor([len(s) for s in self.sequences], device=self.device)  # (sequences,)
        self.longest = max(map(len, self.sequences))
        padded = [s + [0] * (self.longest - len(s)) for s in self.sequences]
        ids = torch.tensor(padded, device=self.device)  # (sequences, longest)
        positions = torch.arange(self.longest, device=self.device).expand(count, -1)
        hidden = self._forward(ids, positions, self.longest)  # (sequences, longest, hidden)
        last = hidden[torch.arange(count, device=self.device), self.lengths - 1]
        return self._guided_logits(last[:, None])[:, 0]

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens (images, T) to every image; returns guided logits (images, T, codes) after each of them."""
        count = tokens.shape[1]
        ids = self._for_all(tokens)
        positions = self.lengths[:, None] + torch.arange(count, device=self.device)
        self.longest += count
        logits = self._step(ids, positions, self.longest)
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
        return self._step(ids, positions, self.longest + most + count - 1)

    def _for_all(self, per_image: Tensor) -> Tensor:
        """Values of each image (images, ...) for each sequence (sequences, ...): the unguided ones draw the same."""
        if self.guided:
            return torch.cat([per_image, per_image])
        return per_image

    def _step(self, ids: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Guided logits after each token; no sequence is longer than `longest` with them."""
        slots = min(next_multiple(longest, BUCKET), self.cache.slots)
        logits = self._logits
        if self.compiled:
            logits = partial(compiled_once(Engine._logits), self)
        if self.graphs:
            return self.graphs(logits, ids, positions, slots)
        return logits(ids, positions, slots)

    def _logits(self, ids: Tensor, positions: Tensor, slots: int) -> Tensor:
        return self._guided_logits(self._forward(ids, positions, slots))

    def _forward(self, ids: Tensor, positions: Tensor, slots: int) -> Tensor:
        """Hidden states (sequences, T, hidden) of `ids` (sequences, T), which join the cache at `positions`."""
        embeddings = self.transformer.embed(ids, self.vectors, self.protocol.identifier_base)
        return self.transformer(embeddings.to(self.dtype), self.cache.at(positions, slots))

    def _guided_logits(self, hidden: Tensor) -> Tensor:
        """(sequences, T, hidden) -> (images, T, codes)"""
        logits = self.transformer.image_logits(hidden)
        if not self.guided:
            return logits
        conditional, unconditional = logits.chunk(2)
        return guide(conditional, unconditional, self.cfg)


def next_multiple(number: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-number // step) * step


@cache
def compiled_once(function: Callable) -> Callable:
    """`function` through torch.compile: once for all engines, which share what was compiled for a shape."""
    return torch.compile(function)
