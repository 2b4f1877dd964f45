"""What every kind of quantised linear layer offers."""

from __future__ import annotations

from torch import Tensor, nn


class QuantizedLinear:
    """Mixed into a host's Linear, which keeps its name and its place.

    `weight` holds small numbers; a second parameter says what they stand for.
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
