"""torch.nn's layers for `operations`, with the linear one arranged for a CPU.

In float32, `F.linear` on two rows (one image with guidance) costs as much as two products with one row each; the same
product the other way round reads the weights once (docs/log.md). On some CPUs other products are faster, too: see
`cpu_products`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import cpu_products

Embedding = nn.Embedding
RMSNorm = nn.RMSNorm

FEW = (2, 3)  # rows of an input for which the product the other way round is faster


class Linear(nn.Linear):
    """torch.nn's, with another product where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)"""
        product = self._faster_product(x)
        if product is None:
            return super().forward(x)
        if self.bias is not None:
            product = product + self.bias
        return product

    def _faster_product(self, x: Tensor) -> Tensor | None:
        """x W^T, without the bias; None where torch's own layer is as fast."""
        if x.device.type != "cpu":
            return None
        rows = x.numel() // x.shape[-1]
        if rows in FEW and x.dtype == torch.float32 and not torch.is_grad_enabled():
            turned = self.weight @ x.reshape(rows, -1).T  # (out, rows)
            return turned.T.reshape(*x.shape[:-1], -1)
        if x.dtype == self.weight.dtype and cpu_products.suits(x):
            return cpu_products.linear(x, self.weight)
        return None
