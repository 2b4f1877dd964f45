"""Weights in 8 or 4 bits: what a layer's linear projections hold instead of 16 or 32.

Only the layers' projections are stored so (93 % of the 7B); embeddings, norms and the head of image codes are not, and
activations keep their type. The weights stay as they are: whatever is learned on top of them is computed beside them
(`adapters.attached`).
"""

from __future__ import annotations

import functools

from torch import nn

from .int8 import Int8
from .linear import QuantizedLinear
from .nf4 import NormalFloat4, QuantizationError

__all__ = ["SCHEMES", "QuantizationError", "QuantizedLinear", "quantize", "quantized_class"]

SCHEMES: dict[str, type[QuantizedLinear]] = {"int8": Int8, "4-bit": NormalFloat4}


@functools.cache
def quantized_class(scheme: str, linear: type[nn.Linear]) -> type[nn.Linear]:
    """`linear` with weights as `scheme` holds them; still a subclass, so that a host streams it like its own."""
    return type(f"{SCHEMES[scheme].__name__}{linear.__name__}", (SCHEMES[scheme], linear), {})


def quantize(transformer: nn.Module, scheme: str) -> nn.Module:
    """Turn the projections of `transformer`'s layers into `scheme`, one after the other, in place; returns it.

    Also for a transformer on meta, which is filled later through `QuantizedLinear.store`. Raises QuantizationError
    where the scheme needs a package that is not installed.
    """
    for module in list(transformer.model.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                small = quantized_class(scheme, type(child))(
                    child.in_features, child.out_features, bias=False, device="meta", dtype=child.weight.dtype
                )
                small.store(child.weight.detach())
                setattr(module, name, small)
    transformer.quantized = scheme
    return transformer
