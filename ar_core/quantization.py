"""Weights in 8 bits: what a layer's linear projections hold instead of 16 or 32, with torch alone.

Every output channel has one scale: weight = int8 * scale, symmetric, rounded to nearest. Activations keep their type.
Only the layers' projections are stored so (93 % of the 7B); embeddings, norms and the head of image codes are not.

The weights stay as they are: whatever is learned on top of them is computed beside them (`adapters.attached`).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 127
BLOCK = 2**20  # weights that a CPU turns into activations' type at a time: 2 to 4 MiB stay in its cache
# The CPU product of torch >= 2.3 that reads int8: faster than bfloat16 weights up to 8 rows, slower from 16 on (docs/log.md).
PACKED, PACKED_ROWS = getattr(torch, "_weight_int8pack_mm", None), 8
PACKED_INPUTS = 16  # it reads past the end of a row whose length is no multiple of this


class Int8:
    """Mixed into a host's Linear: it keeps its name, its place and its shape; `weight` is int8, `scale` has one number per row."""

    def store(self, weight: Tensor) -> None:
        """Take over `weight` (out, in), any floating type; the scales are of that type and rounded before they divide."""
        scale = (weight.abs().amax(1).float() / LEVELS).to(weight.dtype)
        scale = torch.where(scale == 0, 1, scale)  # a row of zeros
        rounded = (weight.float() / scale.float()[:, None]).round_().clamp_(-LEVELS, LEVELS)
        self.weight = nn.Parameter(rounded.to(torch.int8), requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return Product.apply(x, self.weight.to(x.device), self.scale.to(x))


class Product(torch.autograd.Function):
    """x (..., in), weight (out, in) int8, scale (out) of x's type -> (..., out).

    A function of its own so that training keeps the int8 weights for its way back and not their 16-bit copy.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        if x.device.type != "cpu" or x.dtype == torch.float16:  # float16 would overflow before an output is scaled
            return F.linear(x, weight * scale[:, None])
        return on_cpu(x.reshape(-1, x.shape[-1]), weight, scale).reshape(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        weight, scale = ctx.saved_tensors
        return gradient @ (weight * scale[:, None]), None, None


def on_cpu(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The product for rows x (rows, in)."""
    if PACKED and x.dtype == torch.bfloat16 and len(x) <= PACKED_ROWS and x.shape[1] % PACKED_INPUTS == 0:
        return PACKED(x.contiguous(), weight, scale)
    blocks = weight.split(max(1, BLOCK // weight.shape[1]))
    return torch.cat([F.linear(x, block.to(x.dtype)) for block in blocks], 1) * scale


@functools.cache
def int8_class(linear: type[nn.Linear]) -> type[nn.Linear]:
    """`linear` with int8 weights; still a subclass, so that a host streams it like its own."""
    return type(f"Int8{linear.__name__}", (Int8, linear), {})


def quantize(transformer: nn.Module) -> nn.Module:
    """Turn the projections of `transformer`'s layers into int8, one after the other, in place; returns it.

    Also for a transformer on meta, which is filled later through `Int8.store`.
    """
    for module in list(transformer.model.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                small = int8_class(type(child))(child.in_features, child.out_features, bias=False, device="meta", dtype=child.weight.dtype)
                small.store(child.weight.detach())
                setattr(module, name, small)
    transformer.quantized = True
    return transformer
