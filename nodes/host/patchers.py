"""What ComfyUI loads, moves and patches a module through.

With DynamicVRAM (in ComfyUI since 0.16, the default on NVIDIA cards since about 0.30) the transformer takes part in it:
a layer's weight comes to the card when it is needed and leaves when another program, model or picture needs the memory.
Without it, and on a CPU, ComfyUI's former way holds whole layers on the card by an estimate. The image tokenizer cannot
be streamed: with either it is on the card as a whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import comfy.model_management as memory
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from .private import dynamic_patcher

METHODS = ("load", "patch_model", "unpatch_model", "partially_load", "partially_unload", "detach")


def transformer_patcher(module: nn.Module, load: torch.device, offload: torch.device) -> ModelPatcher:
    """A patcher whose layers come and go one by one."""
    return trainable_patcher(patcher_class(load))(module, load, offload)


def whole_patcher(module: nn.Module, load: torch.device, offload: torch.device) -> ModelPatcher:
    """A patcher for a module that is on the card as a whole or not at all."""
    base = patcher_class(load)
    if base is ModelPatcher:
        return WholePatcher(module, load, offload)
    return trainable_patcher(base)(module, load, offload)  # of layers that are not ComfyUI's it holds all weights


def patcher_class(load: torch.device) -> Any:
    """ComfyUI's class for modules that run on the device `load`."""
    dynamic = dynamic_patcher()
    if dynamic is None or memory.is_device_cpu(load):
        return ModelPatcher
    return dynamic


@functools.cache
def trainable_patcher(base: Any) -> Any:
    """The class `base` of patchers, with weights that can always be trained beside.

    ComfyUI runs nodes in inference mode. Weights moved or patched there, also by another pack's sampler that makes
    room, would become inference tensors, and the next training would fail.
    """
    methods = [name for name in METHODS if hasattr(base, name)]
    return type(f"Trainable{base.__name__}", (base,), {name: _outside_inference_mode(base, name) for name in methods})


def _outside_inference_mode(base: type[ModelPatcher], name: str) -> Callable[..., Any]:
    method = getattr(base, name)

    @functools.wraps(method)
    def wrapped(self: ModelPatcher, *arguments: Any, **options: Any) -> Any:
        with torch.inference_mode(False):
            return method(self, *arguments, **options)

    return wrapped


class WholePatcher(trainable_patcher(ModelPatcher)):  # type: ignore[misc]
    """A patcher for a module whose layers cannot be streamed."""

    def load(
        self,
        device_to: torch.device | None = None,
        lowvram_model_memory: int = 0,
        force_patch_weights: bool = False,
        full_load: bool = False,
    ) -> None:
        super().load(device_to, lowvram_model_memory, force_patch_weights, full_load=True)

    def partially_unload(
        self, device_to: torch.device, memory_to_free: int = 0, force_patch_weights: bool = False
    ) -> int:
        return 0  # nothing was freed: ComfyUI then unloads the whole
