"""The lines of a benchmark's table: how a subject is learned, and what of it is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..control import Cancel, Progress
from ..families.family import Family
from ..model import ARModel
from ..training import Subject, TrainingSettings, personalize


@dataclass(frozen=True)
class Way:
    meaning: str
    strategy: str | None  # None: nothing is learned
    method: str = "lora"
    long: bool = False  # as many steps as both stages of two_stage together
    embedding_alone: bool = False  # the layers go back to the original after training

    def settings(self, family: Family, seed: int, training: dict[str, object]) -> TrainingSettings | None:
        """Resolved settings of the training; None in `training` means the recipe."""
        if self.strategy is None:
            return None
        settings = TrainingSettings.resolve(family, strategy=self.strategy, method=self.method, seed=seed, **training)
        return replace(settings, layer_steps=settings.embedding_steps + settings.layer_steps) if self.long else settings

    def learn(
        self,
        model: ARModel,
        subject: Subject,
        settings: TrainingSettings | None,
        runs: Path,
        progress: Progress,
        cancel: Cancel,
    ) -> ARModel:
        """`model` knowing the subject; trainings are remembered below `runs`."""
        if settings is None:
            return model
        learned = personalize(model, subject, settings, runs, progress=progress, cancel=cancel)[-1].personalization
        return model.personalized(replace(learned, adapter=None) if self.embedding_alone else learned)


WAYS = {
    "two_stage": Way("the paper: the embedding, then LoRA on top of it", "two_stage"),
    "two_stage_full": Way("the paper: the embedding, then the full q, k and v", "two_stage", "full"),
    "embedding_only": Way("stage 1 alone (Textual Inversion)", "embedding_only"),
    "joint": Way("embedding and LoRA together (DreamBooth)", "joint"),
    "joint_long": Way("the same with as many steps as both stages together", "joint", long=True),
    "joint_full": Way("embedding and full q, k and v together", "joint", "full"),
    "joint_reverted": Way(
        "joint, then the original transformer with the learned embedding", "joint", embedding_alone=True
    ),
    "base": Way("nothing learned: the class word alone", None),
}
