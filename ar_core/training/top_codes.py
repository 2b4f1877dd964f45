"""Distributions over image codes, kept by their most likely codes alone.

All other codes together are one number more: 64 of Lumina-mGPT's 8192 codes are 1.2 MB for a picture of 768 px in place
of 75. The divergence from these is a lower bound of the whole one, and 0 where nothing has changed. On the miniature 64
of 1024 codes keep 99 % of it for an image concept at its start and 90 % for one that nothing held back, 32 keep 98 and
83 % (`python -m workshop.evaluation.kept_codes`, one subject).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

KEPT_CODES = 64


@dataclass(frozen=True, eq=False)
class TopCodes:
    """Distributions over codes by their K most likely ones.

    `codes` (..., K) int32; `log_probabilities` (..., K + 1) float32, the last one of all other codes together.
    """

    codes: Tensor
    log_probabilities: Tensor

    @classmethod
    def of(cls, logits: Tensor, count: int = KEPT_CODES) -> TopCodes:
        """Of `logits` (..., codes): the `count` largest, or all but one where there are no more."""
        codes = logits.topk(min(count, logits.shape[-1] - 1)).indices
        return cls(codes.int(), grouped(logits, codes))

    def __getitem__(self, index: Tensor | Sequence[int] | slice) -> TopCodes:
        return TopCodes(self.codes[index], self.log_probabilities[index])

    def divergence(self, logits: Tensor) -> Tensor:
        """Mean KL(these || softmax of `logits` (n, codes)) in nats, of n distributions in all; a scalar."""
        codes = self.codes.flatten(0, -2).to(logits.device).long()
        expected = self.log_probabilities.flatten(0, -2).to(logits.device)
        return F.kl_div(grouped(logits, codes), expected, reduction="batchmean", log_target=True)


def grouped(logits: Tensor, codes: Tensor) -> Tensor:
    """Log-probabilities (..., K + 1) of `codes` (..., K) and of all others together, by `logits` (..., all codes)."""
    everything = logits.log_softmax(-1)
    others = everything.scatter(-1, codes, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([everything.gather(-1, codes), others], -1)
