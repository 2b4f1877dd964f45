"""Weights in 8 or 4 bits: what a layer's linear projections hold instead of 16 or 32.

Only the layers' projections are stored so (93 % of the 7B); embeddings, norms and the head of image codes are not, and
activations keep their type. The weights stay as they are: whatever is learned on top of them is computed beside them
(`adapters.attach_adapter`).
"""

from __future__ import annotations

import functools
import logging

from torch import nn

from ..transformer import Transformer
from .errors import QuantizationError
from .int8 import Int8
from .linear import QuantizedLinear
from .nf4 import NormalFloat4
from .rotated_int8 import RotatedInt8

__all__ = ["EXPERIMENTAL", "SCHEMES", "QuantizationError", "QuantizedLinear", "quantize", "quantized_class"]

SCHEMES: dict[str, type[QuantizedLinear]] = {"int8": Int8, "4-bit": NormalFloat4}
# To be asked for by name; nothing advises them until a card has shown that they pay.
EXPERIMENTAL: dict[str, type[QuantizedLinear]] = {"int8-rotated": RotatedInt8}

log = logging.getLogger(__name__)


@functools.cache
def quantized_class(scheme: str, linear: type) -> type:
    """`linear`, a Linear, with weights as `scheme` holds them; a subclass, so that a host streams it like its own."""
    chosen = {**SCHEMES, **EXPERIMENTAL}[scheme]
    return type(f"{chosen.__name__}{linear.__name__}", (chosen, linear), {})


def quantize(transformer: Transformer, scheme: str) -> Transformer:
    """Turn the projections of `transformer`'s layers into `scheme`, one after the other, in place; returns it.

    Also for a transformer on meta, which is filled later through `QuantizedLinear.store`. Raises QuantizationError
    where the scheme needs a package that is not installed.
    """
    for module in list(transformer.model.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, _quantized(child, scheme))
    transformer.quantized = scheme
    log.debug("Quantized the layers' projections to %s", scheme)
    return transformer


def _quantized(layer: nn.Linear, scheme: str) -> nn.Module:
    linear: type = type(layer)
    small = quantized_class(scheme, linear)(
        layer.in_features, layer.out_features, bias=False, device="meta", dtype=layer.weight.dtype
    )
    small.store(layer.weight.detach())
    return small
