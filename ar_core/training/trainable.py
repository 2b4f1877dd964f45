"""What is learned: identifier vectors, optional per-photo vectors, optional adapter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..adapters import Adapter, DeltaAdapter, LowRankAdapter
from ..families.protocol import Protocol
from ..transformer import Transformer


class Trainable(nn.Module):
    """`vectors` (k, hidden) and `photo_vectors` (photos, hidden) lie over reserved tokens in this order."""

    def __init__(self, vectors: Tensor, photo_vectors: Tensor | None, adapter: Adapter | None):
        super().__init__()
        self.vectors = nn.Parameter(vectors)
        self.photo_vectors = nn.Parameter(photo_vectors) if photo_vectors is not None else None
        self.adapter = adapter

    @property
    def rows(self) -> Tensor:
        return self.vectors if self.photo_vectors is None else torch.cat([self.vectors, self.photo_vectors])


def initial_vectors(
    transformer: Transformer, protocol: Protocol, class_name: str, count: int, how: str, seed: int
) -> Tensor:
    """(count, hidden) float32: the class word's mean embedding, or normal vectors at the table's median norm.

    Vectors after the first get a little noise, so that they can part.
    """
    table = transformer.model.embed_tokens.weight
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, table.shape[1], generator=generator)
    noise = noise / noise.norm(dim=1, keepdim=True) * median_norm(table)
    if how == "random":
        return noise.to(table.device)
    word = table[torch.tensor(protocol.encode(f" {class_name}"), device=table.device)].float().mean(0)
    noise[0] = 0
    return word + 0.1 * noise.to(table.device)


def median_norm(table: Tensor) -> float:
    """Median length of the table's rows, from at most 4096 of them."""
    rows = table[:: max(1, len(table) // 4096)].float()
    norms = rows.norm(dim=1)
    return norms[norms > 0].median().item()


def new_adapter(transformer: Transformer, method: str, rank: int, seed: int) -> Adapter:
    return LowRankAdapter.fresh(transformer, rank, seed) if method == "lora" else DeltaAdapter.fresh(transformer)
