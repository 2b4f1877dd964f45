"""What a depth means for stage 1: the paper's embedding, or a deep concept."""

from __future__ import annotations

from ..families.family import Family
from .settings import DEEP, STAGES, TrainingSettings

PAPERS_DEPTH = 1  # also what was meant before there was a choice


def stage_one_settings(
    family: Family,
    depth: int,
    image_concept: bool | None,
    *,
    steps: int | None,
    learning_rate: float | None,
    seed: int,
) -> TrainingSettings:
    """Settings of an embedding, or of a deep concept. A depth of 0, and None elsewhere: what the recipe takes."""
    if not is_deep(family, depth, image_concept):
        return TrainingSettings.resolve(
            family,
            strategy="embedding_only",
            seed=seed,
            embedding_steps=steps,
            embedding_learning_rate=learning_rate,
        )
    return TrainingSettings.resolve(
        family,
        strategy="deep",
        seed=seed,
        depth=depth or None,
        image_concept=image_concept,
        deep_steps=steps,
        deep_learning_rate=learning_rate,
    )


def is_deep(family: Family, depth: int, image_concept: bool | None) -> bool:
    """Whether a deep concept is meant: more than one layer, a position before the picture, or the family's own way."""
    if image_concept:
        return True
    if depth == 0:
        return STAGES[family.recipe.strategy][0] == DEEP
    return depth > PAPERS_DEPTH
