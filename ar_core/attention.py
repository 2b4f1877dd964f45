"""Which keys and values the tokens of one forward pass attend to.

`Transformer` projects, norms and rotates; an `Attention` does the rest. There is one implementation for each way of
holding keys and values, or of masking them: whole sequences in this file, the KV cache in `cache.py`. Another cache,
mask or kernel is one more implementation, and the transformer stays as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# layer -> pairs that do not attend to each other (B, 1, T, T) bool; None where all do
IdentityMask = Callable[[int], Tensor | None]


class Attention(ABC):
    """Attention for one forward pass of T new tokens in each of B sequences.

    `positions` (B, T), or (1, T) where they are the same for all, says where the new tokens stand.
    """

    positions: Tensor

    @abstractmethod
    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What the new tokens gather in layer number `layer`, (B, T, heads, head_dim).

        q: (B, T, heads, head_dim); k, v: (B, T, kv_heads, head_dim); q and k are normed and rotated. May store k and v.
        """


class WholeSequences(Attention):
    """Every token attends to itself and to those before it, all of them new: for training and scoring.

    Shorter sequences are padded at their end: no position attends to a later one. `identity_mask`: pairs of positions
    that do not attend to each other either (`Concepts.identity_mask`).
    """

    def __init__(self, length: int, device: torch.device, identity_mask: IdentityMask | None = None):
        self.positions = torch.arange(length, device=device)[None]
        self.identity_mask = identity_mask

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        forbidden = self.identity_mask(layer) if self.identity_mask else None
        if forbidden is None:
            return scaled_dot_product(q, k, v, mask=None)
        mask = causal_mask(self.positions, q.shape[1], q.dtype)
        return scaled_dot_product(q, k, v, mask.masked_fill(forbidden, float("-inf")))


def scaled_dot_product(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(head_dim) + mask) v, as (B, T, heads, head_dim).

    q: (B, T, heads, head_dim); k, v: (B, S, kv_heads, head_dim), whose heads are shared by groups of q's.
    mask: (B, 1, T, S), added to the scores; None lets token t see the first t + 1 of S = T.
    """
    new = q.shape[1]
    if new == 1 and q.device.type == "cpu" and q.dtype == torch.bfloat16:
        # torch's CPU kernel takes five times longer for one query than for two (docs/log.md).
        q = q.repeat(1, 2, 1, 1)
    if q.shape[2] != k.shape[2]:
        # By hand: torch has its own way since 2.5 alone, and another pack may have put another function there.
        shared = q.shape[2] // k.shape[2]
        k = k.repeat_interleave(shared, 2)
        v = v.repeat_interleave(shared, 2)
    attended = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.to(q.dtype).transpose(1, 2),
        v.to(q.dtype).transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
    )
    return attended[:, :, :new].transpose(1, 2)


def causal_mask(positions: Tensor, slots: int, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores: 0 for slots up to a token's own position, else -inf. (B, 1, T, slots)

    positions: (B, T); slot s holds the token at position s.
    """
    later = torch.arange(slots, device=positions.device) > positions[:, None, :, None]
    return torch.zeros(later.shape, device=positions.device, dtype=dtype).masked_fill_(later, float("-inf"))
