"""What is learned: identifier vectors, optional per-photo vectors, optional adapter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..adapters import Adapter, DeltaAdapter, LowRankAdapter, target_shapes
from ..families.protocol import Protocol
from ..memory import trainable_parameters
from ..transformer import Transformer
from .settings import EMBEDDING, TrainingSettings


class Trainable(nn.Module):
    """`vectors` (k, hidden) and `photo_vectors` (photos, hidden) lie over reserved tokens in this order.

    The names of its parameters are those in the states on disk.
    """

    def __init__(self, vectors: Tensor, photo_vectors: Tensor | None, adapter: Adapter | None):
        super().__init__()
        self.vectors = nn.Parameter(vectors)
        self.photo_vectors: nn.Parameter | None = None
        if photo_vectors is not None:
            self.photo_vectors = nn.Parameter(photo_vectors)
        self.adapter = adapter

    @property
    def all_vectors(self) -> Tensor:
        """All vectors in the order of their reserved tokens (k + photos, hidden)."""
        if self.photo_vectors is None:
            return self.vectors
        return torch.cat([self.vectors, self.photo_vectors])


def initial_vectors(
    transformer: Transformer, protocol: Protocol, word: str, count: int, initialisation: str, seed: int
) -> Tensor:
    """(count, hidden) float32: `word`'s mean embedding, or normal vectors at the median norm of words.

    `initialisation`: "class" or "random". Vectors after the first get a little noise, so that they can part.
    """
    table = transformer.model.embed_tokens.weight
    words = table
    if transformer.config.folded_codes:
        words = table[: transformer.config.head_first]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, table.shape[1], generator=generator, dtype=torch.float32, device="cpu")
    noise = noise / noise.norm(dim=1, keepdim=True) * median_norm(words)
    if initialisation == "random":
        return noise.to(table.device)
    ids = torch.tensor(protocol.encode(f" {word}"), device=table.device)
    mean = table[ids].float().mean(0)
    noise[0] = 0
    return mean + 0.1 * noise.to(table.device)


def median_norm(table: Tensor) -> float:
    """Median length of the table's rows, from at most 4096 of them."""
    rows = table[:: max(1, len(table) // 4096)].float()
    norms = rows.norm(dim=1)
    return norms[norms > 0].median().item()


def new_adapter(transformer: Transformer, method: str, rank: int, seed: int) -> Adapter:
    """An adapter of that method which changes nothing yet."""
    if method == "lora":
        return LowRankAdapter.fresh(transformer, rank, seed)
    return DeltaAdapter.fresh(transformer)


def largest_rank(transformer: Transformer) -> int:
    """The rank beyond which a LoRA can express nothing more: the full rank of the largest projection it changes."""
    return max(min(shape) for shape in target_shapes(transformer).values())


def adapter_parameters(transformer: Transformer, settings: TrainingSettings, stage: str) -> int:
    """How many parameters the adapter of a stage has; 0 for the stage that leaves the layers alone."""
    if stage == EMBEDDING:
        return 0
    return trainable_parameters(transformer, settings.method, settings.rank)
