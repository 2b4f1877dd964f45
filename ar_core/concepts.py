"""Learned vectors in the stream of the transformer: a concept is put in place where a layer begins.

At the positions of a concept's reserved tokens, what enters layer i is replaced by the concept's vector of that layer,
for the first `depth` layers; above them the positions go on as ordinary ones. Depth 1 is a learned embedding (Gal et
al. 2022, Sun et al. 2025), more is deep concept injection (Wu et al. 2025, arXiv 2508.07341). Only prompts hold such
positions, so steps that draw codes never see any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Entering = Callable[[int, Tensor], Tensor]  # layer, what enters it (B, T, hidden) -> what takes its place


@dataclass(frozen=True, eq=False)
class Concepts:
    """Vectors over reserved tokens: `vectors` (depth, N, hidden), of which [i, n] belongs to token `first_id` + n.

    `depths` (N,): in how many layers each is put in place, at most `depth`; the vectors above that are not read.
    """

    vectors: Tensor
    depths: Tensor
    first_id: int

    @classmethod
    def stacked(cls, parts: Sequence[Tensor], first_id: int) -> Concepts:
        """Those of one or more concepts, each (depth, k, hidden) of its own depth."""
        deepest = max(len(part) for part in parts)
        padded = [F.pad(part, (0, 0, 0, 0, 0, deepest - len(part))) for part in parts]
        depths = torch.cat([torch.full((part.shape[1],), len(part), device=part.device) for part in parts])
        return cls(torch.cat(padded, 1), depths, first_id)

    def placed_in(self, ids: Tensor) -> Entering:
        """What puts these vectors in place in a batch of token `ids` (B, T)."""
        numbers = ids - self.first_id
        inside = (numbers >= 0) & (numbers < len(self.depths))
        numbers = numbers.clamp(0, len(self.depths) - 1)
        reach = self.depths.to(ids.device)[numbers].where(inside, 0)  # (B, T): layers in which a position is replaced
        deepest = len(self.vectors)

        def entering(layer: int, x: Tensor) -> Tensor:
            if layer >= deepest:
                return x
            placed = F.embedding(numbers, self.vectors[layer].to(x.device)).to(x.dtype)
            return torch.where((reach > layer)[..., None], placed, x)

        return entering


def states_entering(
    transformer: Callable[..., Tensor], embeddings: Tensor, depth: int, put: Entering | None = None
) -> list[Tensor]:
    """What enters each of the first `depth` layers for `embeddings` (B, T, hidden): (B, T, hidden) float32 each.

    `put`: a concept that stands in the stream meanwhile.
    """
    found: list[Tensor] = []

    def watching(layer: int, x: Tensor) -> Tensor:
        if put is not None:
            x = put(layer, x)
        if layer < depth:
            found.append(x.detach().float())
        return x

    transformer(embeddings, entering=watching)
    return found
