"""The KV cache: keys and values of every position that was computed."""

from __future__ import annotations

import torch
from torch import Tensor

from .architecture import TransformerConfig


class KVCache:
    """Keys and values of every position so far; a token at position p lies in slot p.

    Slots are never cleared: a slot above a row's newest position is invisible until it is overwritten, so
    rows may advance by different amounts and rejected drafts need no cropping.

    keys, values: (layers, rows, slots, kv_heads, head_dim)
    """

    def __init__(self, config: TransformerConfig, rows: int, slots: int, device=None, dtype=None):
        shape = (config.num_hidden_layers, rows, slots, config.num_key_value_heads, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.rows = torch.arange(rows, device=device)[:, None]

    @property
    def slots(self) -> int:
        return self.keys.shape[2]

    @staticmethod
    def bytes(config: TransformerConfig, rows: int, slots: int, itemsize: int) -> int:
        return 2 * config.num_hidden_layers * rows * slots * config.num_key_value_heads * config.head_dim * itemsize

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor, slots: int) -> tuple[Tensor, Tensor]:
        """Store (rows, T, kv_heads, head_dim) at `positions` (rows, T); returns the layer's first `slots` slots."""
        self.keys[layer].index_put_((self.rows, positions), keys.to(self.keys.dtype))
        self.values[layer].index_put_((self.rows, positions), values.to(self.values.dtype))
        return self.keys[layer, :, :slots], self.values[layer, :, :slots]
