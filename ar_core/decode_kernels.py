"""Attention kernels that are told how many slots of the cache each sequence has: no mask, one shape for all steps.

A mask keeps torch from its fastest kernels on a graphics card, and a recorded step has one number of slots. Both
kernels here read a cache as `KVCache` lays it out. None has been run on a card by this project yet.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .attention import Attention
from .cache import KVCache

# q (B, T, heads, head_dim), keys and values (B, slots, kv_heads, head_dim), lengths (B,) int32: the slots that a
# sequence uses, its new tokens last -> (B, T, heads, head_dim); new token t does not see those after it
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

KITCHEN_HEAD = 128  # channels of a head, the only number that comfy_kitchen's kernel takes


class LengthAttention(Attention):
    """New tokens join the cache, then each attends to all of its sequence up to itself."""

    def __init__(self, cache: KVCache, positions: Tensor, kernel: Kernel):
        """`positions` (sequences, T), in a row."""
        self.cache = cache
        self.positions = positions
        self.kernel = kernel
        self.lengths = (positions[:, -1] + 1).int()

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.cache.write(layer, self.positions, k, v)
        return self.kernel(q, self.cache.keys[layer], self.cache.values[layer], self.lengths)


def check_kernel(device: torch.device, dtype: torch.dtype) -> None:
    """Raise ValueError where no kernel takes lengths."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        raise ValueError(
            f'The attention "lengths" needs an NVIDIA card and 16 bits; this is {device} in '
            f'{str(dtype).removeprefix("torch.")}. Choose "masked".'
        )
    if varlen() is None:
        raise ValueError(f'The attention "lengths" needs torch 2.13 or newer, this is {torch.__version__}.')


def choose_kernel(cache: KVCache, tokens: int) -> Kernel:
    """comfy_kitchen's kernel where it is installed and takes these shapes, else torch's."""
    sequences, slots = cache.keys.shape[1:3]
    decode = kitchen()
    if decode is not None and tokens == 1 and takes_kitchen(cache):
        return decode
    return TorchKernel(sequences, tokens, slots, cache.keys.device)


def takes_kitchen(cache: KVCache) -> bool:
    """Whether comfy_kitchen's kernel is made for this cache."""
    return cache.keys.dtype == torch.bfloat16 and cache.keys.shape[-1] == KITCHEN_HEAD


class TorchKernel:
    """torch's attention over sequences of different lengths (`torch.nn.attention.varlen`)."""

    def __init__(self, sequences: int, tokens: int, slots: int, device: torch.device):
        number = torch.arange(sequences + 1, device=device, dtype=torch.int32)
        self.starts_q = number * tokens
        self.starts_k = number * slots
        self.tokens = tokens
        self.slots = slots

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, lengths: Tensor) -> Tensor:
        attend = varlen()
        assert attend is not None  # see check_kernel
        attended = attend(
            q.flatten(0, 1),
            keys.flatten(0, 1),
            values.flatten(0, 1),
            self.starts_q,
            self.starts_k,
            self.tokens,
            self.slots,
            window_size=(-1, 0),  # causal, with the new tokens last
            enable_gqa=q.shape[2] != keys.shape[2],
            seqused_k=lengths,
        )
        return attended.view(q.shape)


@functools.cache
def varlen() -> Callable[..., Any] | None:
    """torch's `varlen_attn` where it takes lengths; None before torch 2.13."""
    try:
        module = importlib.import_module("torch.nn.attention.varlen")
    except ImportError:
        return None
    if "seqused_k" not in inspect.signature(module.varlen_attn).parameters:
        return None
    return module.varlen_attn


@functools.cache
def kitchen() -> Kernel | None:
    """comfy_kitchen's `flash_attention_decode` (bfloat16, one new token), which comes with ComfyUI; None without."""
    try:
        module = importlib.import_module("comfy_kitchen")
    except ImportError:
        return None
    available = getattr(module, "flash_attention_decode_is_available", None)
    if available is None or not available(torch.device("cuda")):
        return None
    return module.flash_attention_decode
