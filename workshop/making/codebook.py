"""A codebook that follows the vectors assigned to its rows (van den Oord et al. 2017, appendix A.1)."""

from __future__ import annotations

import torch
from torch import Tensor

UNUSED = 0.05  # a row with a lower average count restarts


class MovingAverageCodebook:
    """Keeps codebook rows at the moving average of the vectors assigned to them."""

    def __init__(self, rows: Tensor, decay: float = 0.99):
        """`rows` (codes, d) are changed in place."""
        rows.requires_grad_(False)
        self.rows = rows.data
        self.decay = decay
        self.counts = torch.zeros(len(rows), device=rows.device)
        self.sums = torch.zeros_like(self.rows)
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether it was initialised, in this process or in the one that wrote the checkpoint."""
        self._ready = self._ready or bool(self.counts.sum() > 0)
        return self._ready

    @property
    def in_use(self) -> int:
        """How many rows vectors are assigned to."""
        return int((self.counts > 0.5).sum())

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds beside the rows."""
        return {"counts": self.counts, "sums": self.sums}

    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        """k-means over the given vectors."""
        vectors = vectors.detach()
        first = torch.randperm(len(vectors), generator=generator)[: len(self.rows)]
        self.rows.copy_(vectors[first.to(vectors.device)])
        for _ in range(10):
            nearest = torch.cdist(vectors, self.rows).argmin(1)
            counts = torch.bincount(nearest, minlength=len(self.rows)).float()
            sums = torch.zeros_like(self.rows).index_add_(0, nearest, vectors)
            used = counts > 0
            self.rows[used] = sums[used] / counts[used, None]
        self.counts.copy_(counts.clamp_min(1))
        self.sums.copy_(self.rows * self.counts[:, None])

    def update(self, vectors: Tensor, codes: Tensor, seed: int = 0) -> None:
        """Move rows towards their vectors; `seed` draws where rows that nobody uses restart."""
        counts = torch.bincount(codes, minlength=len(self.rows)).float()
        sums = torch.zeros_like(self.rows).index_add_(0, codes, vectors)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(vectors), (len(self.rows),), generator=generator).to(vectors.device)
        dead = self.counts < UNUSED  # they restart where vectors are now
        self.counts.masked_fill_(dead, 1.0)
        self.sums.copy_(torch.where(dead[:, None], vectors[chosen], self.sums))
        self.rows.copy_(self.sums / self.counts[:, None])
