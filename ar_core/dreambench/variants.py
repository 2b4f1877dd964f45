"""What a benchmark compares: variants of personalization, each a line of its table.

A variant has a strategy (which stages are trained) and a method (how a stage changes the layers), as in
`training.settings`, and may differ further in what is said here. On the command line variants are chosen by
`--strategies`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..control import Cancel, Progress
from ..families.family import Family
from ..model import ARModel
from ..training import Subject, TrainingSettings, personalize
from ..training.settings import DEEP, REGULARIZERS, STAGES
from ..training.stages import Choose

FIXED = ("vectors", "image_concept", *REGULARIZERS)  # settings that variants may decide


@dataclass(frozen=True)
class Variant:
    """How a subject is learned, and what of it is used."""

    meaning: str
    strategy: str | None  # None: nothing is learned
    method: str = "lora"
    long: bool = False  # as many steps as both stages of two_stage together
    soft_tokens: int = 0  # vectors of the identifier, where not the recipe's
    image_concept: bool | None = None  # of a deep concept; None: the recipe's
    context_weight: float | None = None  # of what holds an image concept back; None: the recipe's
    dual_prior_weight: float | None = None
    embedding_alone: bool = False  # the layers go back to the original after training

    def settings(self, family: Family, seed: int, training: dict[str, Any]) -> TrainingSettings | None:
        """Resolved settings of the training; None in `training` means the recipe."""
        if self.strategy is None:
            return None
        own: dict[str, Any] = {}
        if self.soft_tokens:
            own["vectors"] = self.soft_tokens
        for name in ("image_concept", *REGULARIZERS):  # vectors are their soft tokens
            value = getattr(self, name)
            if value is not None:
                own[name] = value
        chosen = {**training, **own}
        image_concept = chosen.get("image_concept")
        if image_concept is None:
            image_concept = family.recipe.deep.image_concept
        if not image_concept or DEEP not in STAGES[self.strategy]:
            for name in REGULARIZERS:  # chosen for a whole table, of which this variant has nothing to hold back
                chosen.pop(name, None)
        settings = TrainingSettings.resolve(family, strategy=self.strategy, method=self.method, seed=seed, **chosen)
        if self.long:
            return replace(settings, layer_steps=settings.embedding_steps + settings.layer_steps)
        return settings

    def other_values(self, family: Family, training: dict[str, Any]) -> dict[str, Any]:
        """What is in `training` for a whole table and this variant has otherwise: its own values, by name."""
        settings = self.settings(family, 0, training)
        if settings is None:
            return {}
        own = {name: getattr(settings, name) for name in FIXED}
        return {name: value for name, value in own.items() if training.get(name) not in (None, value)}

    def learn(
        self,
        model: ARModel,
        subject: Subject,
        settings: TrainingSettings | None,
        runs: Path,
        progress: Progress,
        cancel: Cancel,
        choose: Choose | None = None,
    ) -> ARModel:
        """`model` with the subject applied; trainings are remembered below `runs`. `choose`: as for `personalize`."""
        if settings is None:
            return model
        results = personalize(model, subject, settings, runs, progress=progress, cancel=cancel, choose=choose)
        learned = results[-1].personalization
        if self.embedding_alone:
            learned = replace(learned, adapter=None)
        return model.personalized(learned)


# Of what holds an image concept back, where a variant is about it. No table has decided them yet. On a tuning subject
# of the miniature the loss pulls a learned concept outwards with about 1e-3 per layer, and the context pulls back with
# a third of its weight: the published 5e-4 would hardly be felt there.
CONTEXT_WEIGHT = 5e-3
DUAL_PRIOR_WEIGHT = 0.3


def _with_image_concept(meaning: str, context_weight: float = 0.0, dual_prior_weight: float = 0.0) -> Variant:
    return Variant(
        meaning, "deep", image_concept=True, context_weight=context_weight, dual_prior_weight=dual_prior_weight
    )


VARIANTS = {
    "two_stage": Variant("two stages: the embedding, then LoRA on top of it", "two_stage"),
    "two_stage_full": Variant("two stages: the embedding, then the full q, k and v", "two_stage", "full"),
    "embedding_only": Variant("stage 1 alone (Textual Inversion)", "embedding_only"),
    "joint": Variant("embedding and LoRA together (DreamBooth)", "joint"),
    "joint_long": Variant("the same with as many steps as both stages together", "joint", long=True),
    "joint_full": Variant("embedding and full q, k and v together", "joint", "full"),
    "joint_reverted": Variant(
        "joint, then the original transformer with the learned embedding", "joint", embedding_alone=True
    ),
    "soft_tokens": Variant("an identifier of 17 vectors (Yo'Chameleon)", "embedding_only", soft_tokens=17),
    "deep": Variant("a vector for each of the first layers, the model frozen", "deep", image_concept=False),
    "deep_image": _with_image_concept("the same with a position before the picture"),
    "deep_image_casr": _with_image_concept("that, held near its start", context_weight=CONTEXT_WEIGHT),
    "deep_image_dpp": _with_image_concept("that, with class pictures", dual_prior_weight=DUAL_PRIOR_WEIGHT),
    "deep_image_both": _with_image_concept("that with both (DCoAR)", CONTEXT_WEIGHT, DUAL_PRIOR_WEIGHT),
    "deep_two_stage": Variant("deep, then LoRA on top of it", "deep_two_stage"),
    "base": Variant("nothing learned: the class word alone", None),
}
