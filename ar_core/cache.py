"""The KV cache: keys and values of every position that was computed."""

from __future__ import annotations

import torch
from torch import Tensor

from .architecture import TransformerConfig
from .attention import Attention, IdentityMask, causal_mask, scaled_dot_product


class KVCache:
    """Keys and values of every position so far; the token at position p lies in slot p.

    Slots are never cleared: a slot above a sequence's newest position is invisible until it is overwritten, so
    sequences may advance by different amounts and rejected drafts need no cropping.

    keys, values: (layers, sequences, slots, kv_heads, head_dim)
    """

    def __init__(
        self,
        config: TransformerConfig,
        sequences: int,
        slots: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ):
        shape = (config.num_hidden_layers, sequences, slots, config.num_key_value_heads, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.sequences = torch.arange(sequences, device=device)[:, None]  # index of each, (sequences, 1)

    @property
    def slots(self) -> int:
        """How many positions there is room for."""
        return self.keys.shape[2]

    @staticmethod
    def bytes(config: TransformerConfig, sequences: int, slots: int, itemsize: int) -> int:
        """What a cache of this shape takes; `itemsize`: bytes per number."""
        numbers = config.num_hidden_layers * sequences * slots * config.num_key_value_heads * config.head_dim
        return 2 * numbers * itemsize

    def at(
        self, positions: Tensor, slots: int | None = None, identity_mask: IdentityMask | None = None
    ) -> CachedAttention:
        """Attention for new tokens at `positions` (sequences, T), to all that is cached before them.

        Only the first `slots` of the cache are read (all when None): fewer are faster, and they must exceed every
        position. `identity_mask`: pairs that do not attend to each other, where prompts are read: their T tokens lie in
        the first T slots, and no more are read.
        """
        return CachedAttention(self, positions, slots or self.slots, identity_mask)

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values (sequences, T, kv_heads, head_dim) of one layer at `positions` (sequences, T)."""
        places = (self.sequences, positions)
        self.keys[layer].index_put_(places, keys.to(self.keys.dtype))
        self.values[layer].index_put_(places, values.to(self.values.dtype))


class CachedAttention(Attention):
    """New tokens join the cache, then each attends to slots 0 .. its own position."""

    def __init__(self, cache: KVCache, positions: Tensor, slots: int, identity_mask: IdentityMask | None = None):
        self.cache = cache
        self.positions = positions
        self.slots = slots
        self.identity_mask = identity_mask
        self.mask = causal_mask(positions, slots, cache.keys.dtype)  # the same in every layer

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.cache.write(layer, self.positions, k, v)
        keys = self.cache.keys[layer, :, : self.slots]
        values = self.cache.values[layer, :, : self.slots]
        mask = self.mask.to(q.dtype)
        forbidden = self.identity_mask(layer) if self.identity_mask else None
        if forbidden is not None:
            mask = mask.masked_fill(forbidden, float("-inf"))
        return scaled_dot_product(q, keys, values, mask)
