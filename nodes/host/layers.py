"""ComfyUI's layers, of which the transformer is built: they can be streamed, cast and patched, and trained beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.ops
import torch
from torch import Tensor
from torch.nn import functional as F

from ...ar_core.frozen_product import FrozenProduct
from .private import fetched, is_cast


class Layers(comfy.ops.disable_weight_init):
    """The namespace of layers.

    With DynamicVRAM, the default on NVIDIA cards in later versions, ComfyUI builds layers without weights and fills
    them in `load_state_dict`. Our loader fills them itself, tensor by tensor. A layer that has its own
    `_load_from_state_dict` is built with its weight, on meta, in every version.
    """

    class Linear(comfy.ops.disable_weight_init.Linear):
        def _load_from_state_dict(self, *arguments: Any) -> None:
            torch.nn.Linear._load_from_state_dict(self, *arguments)

        def forward(self, x: Tensor) -> Tensor:
            """Where a streamed layer is trained through, its weight is fetched again in backward.

            torch would keep the copy that ComfyUI fetched for forward, into whose memory the weight of another layer
            may come before backward reads it: wrong gradients without an error.
            """
            if is_cast(self) and torch.is_grad_enabled():
                return FrozenProduct.apply(x, self)
            return super().forward(x)

        @contextmanager
        def fetched_weight(self, device: torch.device, dtype: torch.dtype | None = None) -> Iterator[Tensor]:
            """The weight on `device` while this lasts; in its own type, or another."""
            with fetched(self, device, dtype or self.weight.dtype) as (weight, _):
                yield weight

        def multiply(self, x: Tensor) -> Tensor:
            with fetched(self, x.device, x.dtype) as (weight, bias):
                return F.linear(x, weight, bias)

        def multiply_back(self, gradient: Tensor) -> Tensor:
            with self.fetched_weight(gradient.device, gradient.dtype) as weight:
                return gradient @ weight

    class Embedding(comfy.ops.disable_weight_init.Embedding):
        def _load_from_state_dict(self, *arguments: Any) -> None:
            torch.nn.Embedding._load_from_state_dict(self, *arguments)

    class RMSNorm(torch.nn.RMSNorm):
        """Fetches its few numbers itself: ComfyUI's buffer would be overwritten before backward reads it."""

        def forward(self, x: Tensor) -> Tensor:
            return F.rms_norm(x, self.normalized_shape, self.weight.to(x), self.eps)
