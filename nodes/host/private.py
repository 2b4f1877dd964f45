"""Names of ComfyUI that its documentation does not promise. Each is used where it exists and done without otherwise.

tests/comfyui/test_host.py runs in every supported version and says which of them a new one has lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management as memory
import comfy.model_patcher
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

try:
    from comfy.weight_adapter.lora import LoRAAdapter
except ImportError:
    LoRAAdapter = None

try:
    from comfy_execution.utils import get_executing_context
except ImportError:
    get_executing_context = None

try:
    from server import PromptServer
except ImportError:
    PromptServer = None


def low_rank_patch(up: torch.Tensor, down: torch.Tensor, alpha: float) -> Any | None:
    """A patch for `add_patches` that keeps its two matrices in memory; None: add their product instead.

    `up` is (rows, rank) and `down` (rank, columns).
    """
    if LoRAAdapter is None:
        return None
    return LoRAAdapter(set(), (up, down, alpha, None, None, None))


def send_text(text: str) -> None:
    """Show `text` on the node that is running; without the names for it, nothing is shown."""
    if get_executing_context is None:
        return
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    send = getattr(server, "send_progress_text", None)
    if context is not None and send is not None:
        send(text, context.node_id)


def event_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of ComfyUI's server, which runs in the main thread; None without a server."""
    return getattr(getattr(PromptServer, "instance", None), "loop", None)


def loop_handler(loop: asyncio.AbstractEventLoop, number: int) -> object | None:
    """What the loop calls when the signal comes; None where it does not say."""
    return getattr(loop, "_signal_handlers", {}).get(number)


def reserved_bytes() -> int:
    """Memory of the card that ComfyUI keeps free of models; 0 where it does not say."""
    reserved = getattr(memory, "extra_reserved_memory", None)
    if reserved is None:
        return 0
    return reserved()


def is_cast(layer: torch.nn.Module) -> bool:
    """Whether ComfyUI copies the layer's own weight to the card whenever it runs, and changes it by no patch there."""
    return getattr(layer, "comfy_cast_weights", False) and not getattr(layer, "weight_function", ())


def dynamic_patcher() -> type[ModelPatcher] | None:
    """The class through which models take part in DynamicVRAM; None where that is off, or not known."""
    core = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    if core is ModelPatcher:
        return None
    return core


@contextmanager
def fetched(layer: torch.nn.Linear, device: torch.device, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The layer's weight and bias on `device` in `dtype`, while this lasts.

    Where DynamicVRAM holds it, by ComfyUI's own way, patches included. Elsewhere by a copy of its own: ComfyUI's buffer
    is shared by all layers.
    """
    if not hasattr(layer, "_v"):
        bias = None if layer.bias is None else layer.bias.to(device, dtype)
        yield layer.weight.to(device, dtype), bias
        return
    weight, bias, stream = comfy.ops.cast_bias_weight(
        layer, device=device, dtype=dtype, bias_dtype=dtype, offloadable=True
    )
    try:
        yield weight, bias
    finally:
        comfy.ops.uncast_bias_weight(layer, weight, bias, stream)
