"""Weights in 8 bits, with torch alone.

Every output channel has one scale: weight = int8 * scale, symmetric, rounded to nearest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .linear import QuantizedLinear

LEVELS = 127
BLOCK = 2**20  # weights that a CPU turns into activations' type at a time: 2 to 4 MiB stay in its cache
# A CPU product of torch >= 2.3 that reads int8: faster than bfloat16 weights up to 8 rows, slower from 16 on
# (docs/log.md).
PACKED = getattr(torch, "_weight_int8pack_mm", None)
PACKED_ROWS = 8
PACKED_INPUTS = 16  # it reads past the end of a row whose length is no multiple of this


class Int8(QuantizedLinear):
    """`weight` is int8 (out, in); `scale` has a number per row, of the weights' type and rounded before it divides."""

    scale: nn.Parameter
    scale_name = "scale"
    bits = 8

    def store(self, weight: Tensor) -> None:
        scale = (weight.abs().amax(1).float() / LEVELS).to(weight.dtype)
        scale = torch.where(scale == 0, 1, scale)  # a row of zeros
        rounded = (weight.float() / scale.float()[:, None]).round_().clamp_(-LEVELS, LEVELS)
        self.keep(rounded.to(torch.int8), scale)

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return int8_product(x, weight, self.scale.to(x))

    def restored(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        return weight * self.scale.to(weight.device, dtype)[:, None]


def int8_product(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x (..., in), weight (out, in) int8, scale (out) of x's type -> (..., out)."""
    if x.device.type != "cpu" or x.dtype == torch.float16:  # float16 would overflow before an output is scaled
        return F.linear(x, weight * scale[:, None])
    return int8_product_on_cpu(x.reshape(-1, x.shape[-1]), weight, scale).reshape(*x.shape[:-1], -1)


def int8_product_on_cpu(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The product for rows x (rows, in)."""
    if PACKED and x.dtype == torch.bfloat16 and len(x) <= PACKED_ROWS and x.shape[1] % PACKED_INPUTS == 0:
        return PACKED(x.contiguous(), weight, scale)
    blocks = weight.split(max(1, BLOCK // weight.shape[1]))
    return torch.cat([F.linear(x, block.to(x.dtype)) for block in blocks], 1) * scale
