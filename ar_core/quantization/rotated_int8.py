"""Weights and activations in 8 bits, through the optional package comfy-kitchen, which ComfyUI brings.

Both are rotated in groups of channels before they are rounded (Hadamard matrices, as in QuaRot, Ashkboos et al. 2024,
arXiv 2404.00456): outliers spread over their group, and the product stays what it was. Cards multiply 8 bits by 8 bits,
so no weight is turned into 16 bits first. Its kernels for NVIDIA cards need CUDA 13 and a 30xx or later; elsewhere the
package computes the same in plain torch, which is slow. Not measured on a card yet.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from .errors import QuantizationError
from .linear import QuantizedLinear

GROUPS = (256, 64, 16)  # channels that are rotated together: the largest that divides a layer's inputs


class RotatedInt8(QuantizedLinear):
    """`weight` is int8 (out, in), rotated; `scale` has a float32 number per row (out, 1)."""

    scale: nn.Parameter
    scale_name = "scale"
    bits = 8

    @property
    def group(self) -> int:
        """Channels that are rotated together. Raises QuantizationError where no size fits."""
        for size in GROUPS:
            if self.in_features % size == 0:
                return size
        raise QuantizationError(
            f"The precision int8-rotated needs layers of a multiple of {GROUPS[-1]} inputs, this one has "
            f"{self.in_features}. Choose int8."
        )

    def store(self, weight: Tensor) -> None:
        if weight.is_meta:
            rounded = torch.empty(self.weight_shape, dtype=torch.int8, device="meta")
            self.keep(rounded, torch.empty(self.out_features, 1, device="meta"))
            return
        options = {"is_weight": True, "per_channel": True, "convrot": True, "convrot_groupsize": self.group}
        rounded, parameters = layout().quantize(weight.float(), **options)
        self.keep(rounded, parameters.scale.float())

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        multiplied = kitchen().int8_linear(
            x, weight, self.scale.to(x.device), out_dtype=x.dtype, convrot=True, convrot_groupsize=self.group
        )
        return multiplied.view(*x.shape[:-1], -1)

    def restored(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        parameters = layout().Params(
            scale=self.scale.to(weight.device),
            orig_dtype=dtype,
            orig_shape=self.weight_shape,
            is_weight=True,
            convrot=True,
            convrot_groupsize=self.group,
        )
        return layout().dequantize(weight, parameters).to(dtype)


@functools.cache
def kitchen() -> Any:
    """The package. Raises QuantizationError."""
    try:
        import comfy_kitchen
    except ImportError as error:
        raise QuantizationError(
            f"The precision int8-rotated needs the package comfy-kitchen ({error}). Install it (pip install "
            "comfy-kitchen), or choose int8."
        ) from error
    return comfy_kitchen


@functools.cache
def layout() -> Any:
    """The package's form of such weights. Raises QuantizationError, also for a version that does not rotate them."""
    kitchen()
    from comfy_kitchen import tensor

    form = getattr(tensor, "TensorWiseINT8Layout", None)
    if form is None or not hasattr(kitchen(), "int8_linear"):
        raise QuantizationError(
            "The precision int8-rotated needs a newer comfy-kitchen, as ComfyUI 0.33 brings. Update it, or choose int8."
        )
    return form
