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
        self.counts = torch.zeros(len(rows))
        self.sums = torch.zeros_like(self.rows)

    @property
    def ready(self) -> bool:
        """Whether it was initialised."""
        return bool(self.counts.sum() > 0)

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
        self.rows.copy_(vectors[torch.randperm(len(vectors), generator=generator)[: len(self.rows)]])
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
        dead = self.counts < UNUSED
        if dead.any():  # restart them where vectors are now
            generator = torch.Generator().manual_seed(seed)
            chosen = vectors[torch.randint(len(vectors), (int(dead.sum()),), generator=generator)]
            self.counts[dead] = 1.0
            self.sums[dead] = chosen
        self.rows.copy_(self.sums / self.counts[:, None])
