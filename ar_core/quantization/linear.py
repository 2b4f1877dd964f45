"""What every kind of quantised linear layer offers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..frozen_product import FrozenProduct


class QuantizedLinear:
    """Mixed into a host's Linear, which keeps its name and its place.

    `weight` holds small numbers; a second parameter says what they stand for. A host that keeps weights elsewhere gives
    its Linear a method `fetched_weight`, a context in which the weight is on a device.
    """

    in_features: int  # of the Linear
    out_features: int
    weight: nn.Parameter
    scale_name: str  # of the second parameter
    bits: float  # per weight, nearly

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(out, in) of the weight that is stood for, whatever shape `weight` has."""
        return self.out_features, self.in_features

    def store(self, weight: Tensor) -> None:
        """Take over `weight` (out, in) of any floating type, or one on meta."""
        raise NotImplementedError

    def keep(self, weight: Tensor, scale: Tensor) -> None:
        """Make the two parameters of a quantised weight."""
        self.weight = nn.Parameter(weight, requires_grad=False)
        setattr(self, self.scale_name, nn.Parameter(scale, requires_grad=False))

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """x (..., in) -> (..., out), with `weight` as it is held, on the device of x."""
        raise NotImplementedError

    def restored(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """The matrix (out, in) that `weight` stands for."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)"""
        if torch.is_grad_enabled():
            return FrozenProduct.apply(x, self)
        return self.multiply(x)

    def multiply(self, x: Tensor) -> Tensor:
        fetched_weight = getattr(self, "fetched_weight", None)
        if fetched_weight is None:
            return self.product(x, self.weight.to(x.device))
        with fetched_weight(x.device) as weight:
            return self.product(x, weight)

    def multiply_back(self, gradient: Tensor) -> Tensor:
        fetched_weight = getattr(self, "fetched_weight", None)
        if fetched_weight is None:
            return gradient @ self.restored(self.weight.to(gradient.device), gradient.dtype)
        with fetched_weight(gradient.device) as weight:
            return gradient @ self.restored(weight, gradient.dtype)
