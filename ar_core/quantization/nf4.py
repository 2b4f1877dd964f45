"""NormalFloat, 4 bits (Dettmers et al. 2023, arXiv 2305.14314), through the optional package bitsandbytes.

Blocks of 64 weights share one float32 scale: 4.5 bits per weight. bitsandbytes multiplies with them directly where it
has a kernel (few rows on a graphics card) and turns a layer into the activations' type for the product elsewhere.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .errors import QuantizationError
from .linear import QuantizedLinear

BLOCK = 64


class NormalFloat4(QuantizedLinear):
    """`weight` is uint8 (out * in / 2, 1), two weights in each; `absmax` has the largest magnitude of every block."""

    absmax: nn.Parameter
    scale_name = "absmax"
    bits = 4.5
    _kept_state: Any = None

    def store(self, weight: Tensor) -> None:
        packed, state = bitsandbytes().functional.quantize_4bit(weight.float(), blocksize=BLOCK, quant_type="nf4")
        self.keep(packed, state.absmax)

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return bitsandbytes().matmul_4bit(x, weight.t(), self._state(self.absmax.to(x.device), x.dtype))

    def restored(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        state = self._state(self.absmax.to(weight.device), dtype)
        return bitsandbytes().functional.dequantize_4bit(weight, state)

    def _state(self, absmax: Tensor, dtype: torch.dtype) -> Any:
        """What bitsandbytes knows a weight by: making it takes longer than a small product, so it is kept."""
        kept = self._kept_state
        if kept is None or kept.absmax is not absmax or kept.dtype != dtype:
            shape = torch.Size(self.weight_shape)
            make = bitsandbytes().functional.QuantState
            kept = make(absmax, shape, blocksize=BLOCK, quant_type="nf4", dtype=dtype)
            if absmax is self.absmax:  # not a copy that a streamed layer fetched for this one product
                self._kept_state = kept
        return kept


@functools.cache
def bitsandbytes() -> Any:
    """The package. Raises QuantizationError."""
    try:
        with without_hub():
            import bitsandbytes
    except ImportError as error:
        raise QuantizationError(
            f"The precision 4-bit needs the package bitsandbytes ({error}). "
            "Install it (pip install bitsandbytes), or choose int8."
        ) from error
    return bitsandbytes


@contextmanager
def without_hub() -> Iterator[None]:
    """While this lasts, the package `kernels` cannot be imported, and bitsandbytes does not warn of it.

    On some CPUs bitsandbytes would run code that `kernels` fetches from a hub.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    modules: dict[str, Any] = sys.modules
    before = modules.get("kernels")
    modules["kernels"] = None  # Python's way to make an import fail
    try:
        yield
    finally:
        del modules["kernels"]
        if before is not None:
            modules["kernels"] = before
