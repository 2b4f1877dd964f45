"""Learned vectors in the stream of the transformer: a concept is put in place where a layer begins.

At the positions of a concept's reserved tokens, what enters layer i is replaced by the concept's vector of that layer,
for the first `depth` layers; above them the positions go on as ordinary ones. Depth 1 is a learned embedding (Gal et
al. 2022, Sun et al. 2025), more is deep concept injection (Wu et al. 2025, arXiv 2508.07341). Only prompts hold such
positions, so steps that draw codes never see any of this.

Where a prompt holds two deep concepts, positions of one do not attend to those of the other in the layers where both
are put in place (the identity mask of Wu et al.), which is to keep the colours of one out of the other. We measured no
effect (docs/log.md): what a layer makes of a replaced position is dropped by the next replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import IdentityMask

Entering = Callable[[int, Tensor], Tensor]  # layer, what enters it (B, T, hidden) -> what takes its place


@dataclass(frozen=True, eq=False)
class Concepts:
    """Vectors over reserved tokens: `vectors` (depth, N, hidden), of which [i, n] belongs to token `first_id` + n.

    `depths` (N,): in how many layers each is put in place, at most `depth`; the vectors above that are not read.
    `owners`, N numbers: tokens of different owners are kept apart from each other, those of 0 from none.
    """

    vectors: Tensor
    depths: Tensor
    first_id: int
    owners: tuple[int, ...] = ()

    @classmethod
    def stacked(cls, parts: Sequence[Tensor], first_id: int, apart: Sequence[bool] = ()) -> Concepts:
        """Those of one or more concepts, each (depth, k, hidden) of its own depth.

        `apart`: for each, whether it is kept apart from the others of which this is said; by default none is.
        """
        deepest = max(len(part) for part in parts)
        padded = [F.pad(part, (0, 0, 0, 0, 0, deepest - len(part))) for part in parts]
        depths = torch.cat([torch.full((part.shape[1],), len(part), device=part.device) for part in parts])
        owners: list[int] = []
        for number, part in enumerate(parts):
            owner = 0
            if apart and apart[number]:
                owner = number + 1
            owners += [owner] * part.shape[1]
        return cls(torch.cat(padded, 1), depths, first_id, tuple(owners))

    def placed_in(self, ids: Tensor) -> Entering:
        """What puts these vectors in place in a batch of token `ids` (B, T)."""
        numbers = self._numbers(ids)
        reach = self._of_each(self.depths, ids)  # (B, T): layers in which a position is replaced
        deepest = len(self.vectors)

        def entering(layer: int, x: Tensor) -> Tensor:
            if layer >= deepest:
                return x
            placed = F.embedding(numbers, self.vectors[layer].to(x.device)).to(x.dtype)
            return torch.where((reach > layer)[..., None], placed, x)

        return entering

    def identity_mask(self, ids: Tensor) -> IdentityMask | None:
        """Which positions are kept apart in a batch of token `ids` (B, T); None where no row has two such concepts.

        Layer i keeps two positions apart where both are replaced there, as published; those above do not. What a layer
        makes of a position that the next one replaces is dropped, so of these layers the last one counts.
        """
        if len({*self.owners} - {0}) < 2:
            return None
        owners = self._of_each(torch.tensor(self.owners, device=ids.device), ids)
        reach = self._of_each(self.depths, ids).where(owners > 0, 0)
        others = owners[:, :, None] != owners[:, None, :]  # (B, T, T)
        both = torch.minimum(reach[:, :, None], reach[:, None, :]).where(others, 0)  # layers that keep a pair apart
        deepest = int(both.max())  # the host waits for the device, once for a batch of prompts
        if not deepest:
            return None

        def apart(layer: int) -> Tensor | None:
            if layer >= deepest:
                return None
            return (both > layer)[:, None]

        return apart

    def _numbers(self, ids: Tensor) -> Tensor:
        """Which of the vectors each token has, the first or the last where it has none."""
        return (ids - self.first_id).clamp(0, len(self.depths) - 1)

    def _of_each(self, values: Tensor, ids: Tensor) -> Tensor:
        """`values` (N,) by token `ids` (B, T); 0 for tokens that have no vectors."""
        numbers = self._numbers(ids)
        return values.to(ids.device)[numbers].where(numbers + self.first_id == ids, 0)


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
