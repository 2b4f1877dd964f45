"""The sampling rule as pure functions, in upstream's order: guidance, (codes only,) top-k, temperature, draw.

The constraint to image codes needs no step of its own: the output head covers nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASS = 2**37  # the whole of a distribution in whole numbers
STEPS = 2**24  # of a random number: as many as a float32 in [0, 1) can be; MASS * STEPS fits 64 bits twice


def guide(conditional: Tensor, unconditional: Tensor, cfg: float) -> Tensor:
    """Classifier-free guidance on raw logits (Ho & Salimans 2022): u + cfg (c - u)."""
    return unconditional + cfg * (conditional - unconditional)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """-inf everywhere but at the k largest logits of the last dimension (and what ties with the k-th)."""
    if k >= logits.shape[-1]:
        return logits
    threshold = logits.topk(k, dim=-1, sorted=False).values.amin(-1, keepdim=True)  # sorting would be the greater part
    return logits.masked_fill(logits < threshold, float("-inf"))


def code_probabilities(logits: Tensor, top_k: int, temperature: float) -> Tensor:
    """The distribution (..., codes), float32, from which a code is drawn."""
    return torch.softmax(keep_top_k(logits.float(), top_k) / temperature, dim=-1)


def draw_code(p: Tensor, uniform: Tensor) -> Tensor:
    """The code at which the cumulative distribution of p (..., codes) passes `uniform` (...) in [0, 1).

    Inverse CDF: no synchronisation with the device, and the same number always means the same code. The cumulative sum
    is one of whole numbers, for which no order of adding makes a difference: an accelerator's cumulative sum of floats
    may give other bits in every run. A code of probability zero is never drawn. `p` need not sum to 1.
    """
    shares = (p / p.sum(-1, keepdim=True) * MASS).long()
    cumulative = shares.cumsum(-1)  # up to about MASS
    passed = (uniform * STEPS).long()[..., None] * cumulative[..., -1:]
    ended = (cumulative * STEPS <= passed).sum(-1)  # how many codes end at or before the number
    return ended.clamp_max(p.shape[-1] - 1)  # where p is no distribution
