"""torch.nn's layers for `operations`, with the linear one arranged for decoding on a CPU.

In float32, `F.linear` on two rows (one image with guidance) costs as much as two products with one row each; the same
product the other way round reads the weights once. From four rows on `F.linear` is faster again (docs/log.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Embedding = nn.Embedding
RMSNorm = nn.RMSNorm

FEW = (2, 3)  # rows of an input for which the product the other way round is faster


class Linear(nn.Linear):
    """torch.nn's, with the product turned round where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)"""
        rows = x.numel() // x.shape[-1]
        few = rows in FEW and x.device.type == "cpu" and x.dtype == torch.float32
        if not few or self.bias is not None or torch.is_grad_enabled():
            return super().forward(x)
        product = self.weight @ x.reshape(rows, -1).T  # (out, rows)
        return product.T.reshape(*x.shape[:-1], -1)
