"""Objectives that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(similarities: Tensor) -> Tensor:
    """InfoNCE in both directions (van den Oord et al. 2018), a scalar.

    `similarities` (n, n), scaled: entry (i, i) is a pair that belongs together, the rest of its row and column do not.
    """
    target = torch.arange(len(similarities), device=similarities.device)
    return (F.cross_entropy(similarities, target) + F.cross_entropy(similarities.T, target)) / 2


def pair_loss(vectors: Tensor) -> Tensor:
    """InfoNCE of unit vectors (2n, d), of which 2i and 2i + 1 belong together; temperature 0.1."""
    return info_nce(vectors[0::2] @ vectors[1::2].T / 0.1)
