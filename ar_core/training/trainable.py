"""What is learned of a subject: the vectors of its concept, optional ones for each photo, an optional adapter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..adapters import Adapter, DeltaAdapter, LowRankAdapter, target_shapes
from ..concepts import Concepts
from ..families.protocol import Protocol
from ..memory import trainable_parameters
from ..transformer import Transformer
from .settings import DEEP, EMBEDDING, TrainingSettings


@dataclass(frozen=True, eq=False)
class DeepStart:
    """Where a deep concept starts, and in what it is learned.

    `origin` (depth, n, hidden): what stands at its n positions before the first step. `units` (depth,): the spread of
    these states. They grow from layer to layer, and one learning rate is to fit all of them.
    """

    origin: Tensor
    units: Tensor


class Trainable(nn.Module):
    """What is learned of a subject: vectors over reserved tokens, in this order, and a change of the layers.

    `vectors`: of the identifier, (k, hidden), or (depth, k, hidden) of a deep concept. `image_vectors` (depth, 1,
    hidden): of the position before the picture. `photo_vectors` (photos, hidden): of each photo. With a `start`,
    vectors and image vectors are differences from its origin, counted in its units. The names of its parameters are
    those in the states on disk.
    """

    def __init__(
        self,
        vectors: Tensor,
        photo_vectors: Tensor | None,
        adapter: Adapter | None,
        image_vectors: Tensor | None = None,
        start: DeepStart | None = None,
    ):
        super().__init__()
        self.vectors = nn.Parameter(vectors)
        self.image_vectors: nn.Parameter | None = None
        if image_vectors is not None:
            self.image_vectors = nn.Parameter(image_vectors)
        self.photo_vectors: nn.Parameter | None = None
        if photo_vectors is not None:
            self.photo_vectors = nn.Parameter(photo_vectors)
        self.adapter = adapter
        self.origin: Tensor | None
        self.units: Tensor | None
        self.register_buffer("origin", None if start is None else start.origin)
        self.register_buffer("units", None if start is None else start.units)

    @property
    def concept(self) -> Tensor:
        """What stands at the positions of identifier and image, (depth, k + images, hidden)."""
        learned: Tensor = self.vectors
        if learned.ndim == 2:
            learned = learned[None]
        if self.image_vectors is not None:
            learned = torch.cat([learned, self.image_vectors], 1)
        if self.origin is None or self.units is None:
            return learned
        return self.origin + self.units[:, None, None] * learned

    def concepts(self, first_id: int) -> Concepts:
        """All vectors over the reserved tokens from `first_id` on."""
        parts = [self.concept]
        if self.photo_vectors is not None:
            parts.append(self.photo_vectors[None])
        return Concepts.stacked(parts, first_id)


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
    """How many parameters the adapter of a stage has; 0 for those that leave the layers alone."""
    if stage in (EMBEDDING, DEEP):
        return 0
    return trainable_parameters(transformer, settings.method, settings.rank)
