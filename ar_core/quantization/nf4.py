"""NormalFloat, 4 bits (Dettmers et al. 2023, arXiv 2305.14314), through the optional package bitsandbytes.

Blocks of 64 weights share one float32 scale: 4.5 bits per weight. bitsandbytes multiplies with them directly where it has
a kernel (few rows on a graphics card) and turns a layer into the activations' type for the product elsewhere.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .linear import QuantizedLinear

BLOCK = 64


class QuantizationError(ValueError):
    """A precision that cannot be had here; the message says what to do."""


class NormalFloat4(QuantizedLinear):
    """`weight` is uint8 (out * in / 2, 1), two weights in each; `absmax` has the largest magnitude of every block."""

    scale_name, bits = "absmax", 4.5

    def store(self, weight: Tensor) -> None:
        packed, state = bitsandbytes().functional.quantize_4bit(weight.float(), blocksize=BLOCK, quant_type="nf4")
        self.keep(packed, state.absmax)

    def forward(self, x: Tensor) -> Tensor:
        library, shape = bitsandbytes(), torch.Size(self.weight_shape)
        state = library.functional.QuantState(
            self.absmax.to(x.device), shape, blocksize=BLOCK, quant_type="nf4", dtype=x.dtype
        )
        return library.matmul_4bit(x, self.weight.to(x.device).t(), state)


@functools.cache
def bitsandbytes():
    """The package. Raises QuantizationError."""
    try:
        with without_hub():
            import bitsandbytes
    except ImportError as error:
        raise QuantizationError(
            f"The precision 4-bit needs the package bitsandbytes ({error}). Install it (pip install bitsandbytes), or choose int8."
        ) from error
    return bitsandbytes


@contextmanager
def without_hub() -> Iterator[None]:
    """While this lasts, the package `kernels` is not there: on some CPUs bitsandbytes would run code that it fetches from a hub.

    Nor does it warn that this is missing.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    with_kernels, sys.modules["kernels"] = sys.modules.get("kernels"), None
    try:
        yield
    finally:
        del sys.modules["kernels"]
        if with_kernels is not None:
            sys.modules["kernels"] = with_kernels
