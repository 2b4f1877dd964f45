"""How much an evaluation measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..world.subjects import SUBJECTS

PHOTOS = 5  # of a subject
# The subjects that are trained with every seed, so that the spread between seeds is known; the others have one seed.
SPREAD = ("purple_mug", "red_backpack", "cream_cat", "mint_robot", "lilac_dog", "lime_teapot")


@dataclass(frozen=True)
class Effort:
    """`images` single scenes, and `pairs` scenes of two subjects of either kind, at every strength of guidance.

    `seeds`: of trainings; subjects outside `spread` have the first alone. `training` shortens the recipe, for trying
    the evaluation out.
    """

    images: int = 500
    pairs: int = 250
    guidances: tuple[float, ...] = (2.0, 3.0, 4.0)
    judge_steps: int = 4000
    galleries: int = 300
    subjects: tuple[str, ...] = tuple(SUBJECTS)
    spread: tuple[str, ...] = SPREAD
    seeds: tuple[int, ...] = (0, 1, 2)
    places: int = 6
    training: dict[str, Any] = field(default_factory=dict)

    def seeds_of(self, subject: str) -> tuple[int, ...]:
        """The training seeds of a subject."""
        if subject in self.spread:
            return self.seeds
        return self.seeds[:1]

    def guidances_with(self, own: float) -> list[float]:
        """Every strength of guidance, among them the recipe's own."""
        return sorted({own, *self.guidances})


# Only to try everything out: these numbers mean nothing.
QUICK = Effort(
    images=16,
    pairs=8,
    guidances=(4.0,),
    judge_steps=20,
    galleries=4,
    subjects=("purple_mug", "lilac_dog"),
    spread=("lilac_dog",),
    seeds=(0, 1),
    places=2,
    training={"embedding_steps": 2, "layer_steps": 2},
)
