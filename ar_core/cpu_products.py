"""Matrix products on a CPU that torch does not do the fastest way, through oneDNN, which is part of torch.

Measured on an AMD EPYC with AVX-512 (docs/log.md), and used on such CPUs alone:

- float32: torch multiplies through MKL, which reaches less than half of oneDNN's speed on AMD.
- bfloat16: torch multiplies through oneDNN, which arranges the weight anew for every product. For few rows that takes
  longer than the product; here a weight is arranged once, for drawing, and kept until something is trained.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .devices import free_memory

PACKED_ROWS = 64  # rows of an input up to which an arranged weight is worth its memory


@functools.cache
def available() -> bool:
    """Whether this is a CPU on which these products were measured to be faster, and torch has them."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or "AMD" not in processor():
        return False
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def processor() -> str:
    """The processor's maker, such as "AuthenticAMD"."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("vendor_id"):
                return line
    return platform.processor()


def suits(x: Tensor) -> bool:
    """Whether `linear` is for an input of this kind. What torch compiles or casts by itself is left to it."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    return available() and x.numel() > 0 and not torch.is_autocast_enabled("cpu")


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., in) and weight (out, in) of one type -> (..., out), as torch.nn.functional.linear."""
    rows = x.numel() // x.shape[-1]
    learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if x.dtype == torch.bfloat16:
        if learns or rows > PACKED_ROWS:
            return torch.nn.functional.linear(x, weight)
        return product(x, PACKED.get(weight))
    if learns:
        return Product.apply(x, weight)
    return product(x, weight)


class Product(torch.autograd.Function):
    """The product in float32, with the gradients of both."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = None
        of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = product(gradients[0], weight.t())
        if ctx.needs_input_grad[1]:
            of_weight = product(gradients[0].flatten(0, -2).t(), x.flatten(0, -2).t())
        return of_x, of_weight


def product(x: Tensor, weight: Tensor) -> Tensor:
    """oneDNN's, of `weight` as it is or arranged; it has no gradients."""
    rows = x.reshape(-1, x.shape[-1])
    multiplied = torch.ops.mkldnn._linear_pointwise(rows.detach(), weight.detach(), None, "none", [], "")
    return multiplied.view(*x.shape[:-1], multiplied.shape[-1])


def arrange(weight: Tensor) -> Tensor:
    """`weight` in the order in which oneDNN multiplies it by a few rows."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, 2)  # for about so many rows


class PackedWeights:
    """Weights as oneDNN wants them, beside their originals: at most half of the memory that was free at first."""

    def __init__(self) -> None:
        # By weight: its values as they were (which keeps their address from being used again), how often they had been
        # changed, and the arranged ones. Those of a weight that is gone go with it.
        self.kept = WeakIdKeyDictionary()
        self.limit = 0

    def get(self, weight: Tensor) -> Tensor:
        """`weight` arranged, anew where it has changed; itself where there is no room, or nobody counts its changes."""
        if weight.is_inference():
            return weight
        known = self.kept.get(weight)
        if known is not None:
            values, version, arranged = known
            if values.data_ptr() == weight.data_ptr() and version == weight._version:
                return arranged
        if not self.kept:
            self.limit = (free_memory(weight.device) or 0) // 2
        if known is None and self.held_bytes() + weight.nbytes > self.limit:
            return weight
        arranged = arrange(weight.detach())
        self.kept[weight] = (weight.detach(), weight._version, arranged)
        return arranged

    def held_bytes(self) -> int:
        """What the arranged weights take."""
        return sum(arranged.nbytes for _, _, arranged in self.kept.values())

    def forget(self) -> None:
        """Give the memory back."""
        self.kept.clear()


PACKED = PackedWeights()


def forget() -> None:
    """Give back the memory of arranged weights."""
    PACKED.forget()


def held_bytes() -> int:
    """What arranged weights take."""
    return PACKED.held_bytes()
