"""How the pairs of a step go through the model: so many at a time, with or without gradient checkpointing.

It decides memory and time; what is learned differs in rounding alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..families.protocol import Size
from ..memory import comparing_bytes, learning_bytes
from ..model import ARModel
from .settings import DEEP, TrainingSettings
from .trainable import adapter_parameters


@dataclass(frozen=True)
class Passes:
    """Pairs per forward pass, and whether activations are computed again in backward instead of kept."""

    micro_batch: int
    gradient_checkpointing: bool

    def bytes(self, model: ARModel, settings: TrainingSettings, stage: str, size: Size | None = None) -> int:
        """What a stage needs beside the weights, with pictures of `size`; None: the recipe's."""
        parameters = adapter_parameters(model.base, settings, stage)
        needed = learning_bytes(model, self.micro_batch, self.gradient_checkpointing, parameters, size)
        if stage == DEEP and settings.dual_prior_weight:
            needed += comparing_bytes(model, self.micro_batch, size)
        return needed

    def __str__(self) -> str:
        """ "4 pairs at once", as a state on the disk says it."""
        again = ", activations computed again" if self.gradient_checkpointing else ""
        return f"{self.micro_batch} pairs at once{again}"


def fitting_passes(
    model: ARModel,
    settings: TrainingSettings,
    stage: str,
    free: int | None,
    size: Size | None = None,
    earlier: str = "",
) -> Passes:
    """The settings' own, or where their micro_batch is 0 the quickest that fit into `free` bytes beside the weights.

    `earlier`: those of the steps before, which go first, so that a training that goes on ends as if it had never
    stopped. Where nothing fits, or nobody knows what is free (None), those that need least. `size`: of the pictures;
    None is the recipe's.
    """
    if settings.micro_batch:
        return Passes(settings.micro_batch, settings.gradient_checkpointing)
    ways = quickest_first(settings.batch_size, settings.gradient_checkpointing)
    for passes in sorted(ways, key=lambda way: str(way) != earlier):
        if free is not None and passes.bytes(model, settings, stage, size) <= free:
            return passes
    return Passes(1, True)


def quickest_first(batch_size: int, gradient_checkpointing: bool) -> list[Passes]:
    """All ways to take a batch in equal parts. Checkpointing costs a third more time, smaller parts cost less."""
    counts = [count for count in range(batch_size, 0, -1) if batch_size % count == 0]
    return [Passes(count, again) for again in sorted({gradient_checkpointing, True}) for count in counts]
