"""Products with frozen weights of which backward keeps no copy.

torch would keep the weight that was multiplied with until backward. Where that is a copy, made for this one product out
of 8 bits or on the way from main memory, all copies of all layers would be held at once, or, worse, a host would put
other weights into the copy's memory meanwhile. So the layer makes it again in backward.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class FrozenLinear(Protocol):
    """A layer that can multiply both ways."""

    def multiply(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out), the bias added where there is one."""
        ...

    def multiply_back(self, gradient: Tensor) -> Tensor:
        """The gradient of x (..., in) from that of the output (..., out)."""
        ...


class FrozenProduct(torch.autograd.Function):
    """`layer.multiply`, whose gradient is `layer.multiply_back`; the weight has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenLinear) -> Tensor:
        ctx.layer = layer
        return layer.multiply(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.multiply_back(gradients[0]), None
