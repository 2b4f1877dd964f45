"""The decoding engine: a batch of sequences in one static cache, guided and unguided rows side by side.

Rows 0..n-1 hold the n images with their prompts, rows n..2n-1 the same images unguided (positions from 0). Rows have different lengths; every row knows where its next token stands.
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
        rows: Tensor | None = None,
        spare: int = 0,
        graphs: bool = False,
        compiled: bool = False,
    ):
        """`prompts`: the ids before the first code, one list per image; `rows`: learned vectors over the reserved tokens (R, hidden).

        `spare`: slots of the cache behind the image's last token, for looking ahead. `graphs`: replay steps on CUDA.
        `compiled`: run steps through torch.compile, whose first steps of a shape take long.
        """
        self.transformer, self.protocol, self.cfg, self.rows = transformer, protocol, cfg, rows
        self.images = len(prompts)
        sequences = list(prompts)
        if cfg != 1:  # at cfg 1 the unguided rows would cancel out
            sequences += [protocol.unguided(prompt) for prompt in prompts]
        self.device = transformer.compute_device
        self.dtype = transformer.model.norm.weight.dtype
        grid_rows, columns = protocol.grid(size)
        slots = max(map(len, sequences)) + grid_rows * (columns + 1) + spare
        self.cache = KVCache(transformer.config, len(sequences), up_to(slots, ALIGNED), self.device, self.dtype)
        self.sequences = sequences
        self.compiled = compiled
        self.graphs = Graphs(transformer.parameters, self.device) if graphs and self.device.type == "cuda" else None

    def prefill(self) -> Tensor:
        """Start (over): read prompts and headers; returns the guided logits (images, codes) of the first code."""
        self.lengths = torch.tensor([len(s) for s in self.sequences], device=self.device)
        self.longest = max(map(len, self.sequences))
        ids = torch.tensor([s + [0] * (self.longest - len(s)) for s in self.sequences], device=self.device)
        positions = torch.arange(self.longest, device=self.device).expand(len(ids), -1)
        hidden = self._forward(ids, positions, self.longest)
        last = hidden[torch.arange(len(ids), device=self.device), self.lengths - 1]
        return self._guided(last[:, None])[:, 0]

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens (images, T) to every image; returns guided logits (images, T, codes) after each of them."""
        count = tokens.shape[1]
        ids = tokens if self.cfg == 1 else torch.cat([tokens, tokens])
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
        ids = tokens if self.cfg == 1 else torch.cat([tokens, tokens])
        starts = self.lengths - 1 + (done if self.cfg == 1 else torch.cat([done, done]))
        positions = starts[:, None] + torch.arange(tokens.shape[1], device=self.device)
        longest = self.longest + most + tokens.shape[1] - 1
        return self._step(ids, positions, longest)

    def _step(self, ids: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Guided logits after each token; no row is longer than `longest` with them."""
        slots = min(up_to(longest, BUCKET), self.cache.slots)
        logits = partial(through_compiler(Engine._logits), self) if self.compiled else self._logits
        if self.graphs:
            return self.graphs(logits, ids, positions, slots)
        return logits(ids, positions, slots)

    def _logits(self, ids: Tensor, positions: Tensor, slots: int) -> Tensor:
        return self._guided(self._forward(ids, positions, slots))

    def _forward(self, ids: Tensor, positions: Tensor, slots: int) -> Tensor:
        embeddings = self.transformer.embed(ids, self.rows, self.protocol.identifier_base)
        return self.transformer(embeddings.to(self.dtype), positions, self.cache, slots)

    def _guided(self, hidden: Tensor) -> Tensor:
        logits = self.transformer.image_logits(hidden)
        return logits if self.cfg == 1 else guide(*logits.chunk(2), self.cfg)


def up_to(number: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-number // step) * step


@cache
def through_compiler(function: Callable) -> Callable:
    """`function` through torch.compile: once for all engines, which share what was compiled for a shape."""
    return torch.compile(function)
