"""What a user may set when training; None means the family's recipe.

Two words are kept apart: the strategy says which stages are trained one after the other, the method says how a stage
changes the layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..families.family import Family, Recipe
from ..quoting import quoted
from ..text import NEUTRAL_TEMPLATES

# The stages: the identifier's vectors alone, the same for the first layers, the layers alone, or both at once.
EMBEDDING = "embedding"
DEEP = "deep"
LAYERS = "layers"
JOINT = "joint"

STRATEGIES = {
    "two_stage": "the paper's way: first the identifier's embedding, then the layers on top of it",
    "embedding_only": "the identifier's embedding alone (Textual Inversion)",
    "joint": "embedding and layers together from the start (DreamBooth)",
    "deep": "a vector for each of the first layers, the model left as it is (deep concept injection)",
    "deep_two_stage": "the same, then the layers on top of it",
}
STAGES = {  # by strategy
    "two_stage": (EMBEDDING, LAYERS),
    "embedding_only": (EMBEDDING,),
    "joint": (JOINT,),
    "deep": (DEEP,),
    "deep_two_stage": (DEEP, LAYERS),
}
FROZEN = ("embedding_only", "deep")  # strategies that leave the layers as they are
METHODS = ("lora", "full")
REGULARIZERS = ("context_weight", "dual_prior_weight")  # of an image concept
DEEP_SETTINGS = (
    "depth",
    "deep_steps",
    "deep_learning_rate",
    "image_concept",
    *REGULARIZERS,
    "dual_prior_images",
)
WITH_MASKS = ("background_weight",)  # change nothing where no photo has a mask
BACKGROUND_WEIGHT = 0.1  # the default, in every recipe
# Where prior preservation does anything: the class's prompt holds no learned vector, so stage 1 has no gradient of it.
PRIOR_STAGES = (LAYERS, JOINT)
INITIALISATIONS = ("class", "random")
SEEDS = (-(2**63), 2**64 - 1)  # the first and the last that torch takes
MOST = {  # of settings that count something
    "embedding_steps": 10**6,
    "layer_steps": 10**6,
    "deep_steps": 10**6,
    "depth": 10**3,
    "rank": 4096,
    "vectors": 10**4,
    "batch_size": 4096,
    "prior_images": 10**5,
    "dual_prior_images": 10**5,
}


@dataclass(frozen=True)
class TrainingSettings:
    """Resolved values of one training; `steps` are counted per stage and never decide how a step is made."""

    strategy: str = field(
        metadata={"help": "; ".join(f"{name}: {text}" for name, text in STRATEGIES.items()), "choices": STRATEGIES}
    )
    method: str = field(metadata={"help": "how the layers change: LoRA, or q, k and v in full", "choices": METHODS})
    embedding_steps: int = field(metadata={"help": "steps of the identifier's embedding"})
    layer_steps: int = field(metadata={"help": "steps of the layers"})
    embedding_learning_rate: float = field(metadata={"help": "learning rate of the embedding"})
    layer_learning_rate: float = field(metadata={"help": "learning rate of the layers"})
    rank: int = field(metadata={"help": "rank of the LoRA"})
    vectors: int = field(metadata={"help": "how many vectors the identifier has, each one token of a prompt"})
    initialisation: str = field(metadata={"help": "how the identifier's vectors start", "choices": INITIALISATIONS})
    per_image_token: bool = field(
        metadata={"help": "also learn a token for each photo, for what belongs to that photo alone"}
    )
    prior_preservation: bool = field(
        metadata={
            "help": "also train the layers on pictures of the class that the base model draws (Ruiz et al. 2023)",
            "default": "off",
        }
    )
    prior_weight: float = field(metadata={"help": "weight of their loss"})
    prior_images: int = field(metadata={"help": "how many of them are drawn"})
    batch_size: int = field(metadata={"help": "pairs of prompt and picture per step"})
    micro_batch: int = field(
        metadata={"help": "pairs per forward pass; fewer take less memory, 0 takes as many as fit"}
    )
    clip_norm: float = field(metadata={"help": "largest norm of the gradients"})
    gradient_checkpointing: bool = field(
        metadata={"help": "trade a third more time for most of the activations' memory; exact"}
    )
    seed: int = field(metadata={"help": "another seed is another training"})
    templates: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "a text file of training templates, one a line, with {} or the subject's name where it goes",
            "default": "ten neutral ones",
        },
    )
    depth: int = field(
        default=1, metadata={"help": "of a deep concept: in how many of the first layers it has vectors"}
    )
    deep_steps: int = field(default=1, metadata={"help": "steps of a deep concept"})
    deep_learning_rate: float = field(
        default=1e-2, metadata={"help": "learning rate of a deep concept, in units of each layer's own states"}
    )
    image_concept: bool = field(
        default=False,
        metadata={"help": "of a deep concept: also learn a position before the picture; more likeness, less prompt"},
    )
    background_weight: float = field(
        default=BACKGROUND_WEIGHT,
        metadata={
            "help": "of photos with a mask: what codes outside the subject weigh in the loss, from 0 to 1, which is as "
            "without a mask"
        },
    )
    context_weight: float = field(
        default=0.0,
        metadata={"help": "of an image concept: how strongly its position is held near where it starts"},
    )
    dual_prior_weight: float = field(
        default=0.0,
        metadata={
            "help": "of an image concept: how strongly pictures of the class, which the base model draws, are to stay "
            "as likely with it as without; above 0 a step takes twice as long"
        },
    )
    dual_prior_images: int = field(default=8, metadata={"help": "how many of these pictures are drawn"})

    @classmethod
    def resolve(
        cls, family: Family, *, strategy: str | None = None, method: str = "lora", seed: int = 0, **chosen: Any
    ) -> TrainingSettings:
        """Fill every value that is not in `chosen` (or is None there) from the family's recipe, the strategy too.

        Raises ValueError, naming value and range, for what cannot be meant.
        """
        if strategy is None:
            strategy = family.recipe.strategy
        if strategy not in STRATEGIES:
            raise ValueError(f"There is no strategy {quoted(strategy)}. Choose one of: {', '.join(STRATEGIES)}.")
        if method not in METHODS:
            raise ValueError(f"There is no method {quoted(method)}. Choose one of: {', '.join(METHODS)}.")
        values = _recipe_values(family.recipe, strategy, method)
        unknown = set(chosen) - set(values)
        if unknown:
            raise ValueError(f"There is no training setting {sorted(unknown)[0]!r}. Settings: {', '.join(values)}.")
        values |= {key: value for key, value in chosen.items() if value is not None}
        if values["templates"] == NEUTRAL_TEMPLATES:  # the same training as without
            values["templates"] = ()
        values |= _regularizers(strategy, values, chosen)
        settings = cls(strategy=strategy, method=method, seed=int(seed), **values)
        settings._check(family)
        return settings

    def _check(self, family: Family) -> None:
        for name, most in MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 1 to {most}.")
        least, most = SEEDS
        most -= int(self.per_image_token)  # tokens of photos take the next one
        if not least <= self.seed <= most:
            raise ValueError(f"seed is {self.seed}; it must be from {least} to {most}.")
        if not 0 <= self.micro_batch <= MOST["batch_size"]:
            raise ValueError(
                f"micro_batch is {self.micro_batch}; it must be from 1 to {MOST['batch_size']}, or 0 for as "
                "many as fit."
            )
        for name in ("embedding_learning_rate", "layer_learning_rate", "deep_learning_rate", "clip_norm"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a number above 0.")
        for name in ("prior_weight", *REGULARIZERS):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a number of 0 or more.")
        if not 0 <= self.background_weight <= 1:
            raise ValueError(f"background_weight is {self.background_weight}; it must be a number from 0 to 1.")
        if self.initialisation not in INITIALISATIONS:
            raise ValueError(
                f"initialisation is {quoted(self.initialisation)}; choose one of: {', '.join(INITIALISATIONS)}."
            )
        if self.vectors > family.identifiers // 2:
            raise ValueError(f"vectors is {self.vectors}; this model has room for {family.identifiers // 2}.")

    def steps(self, stage: str) -> int:
        """How many steps `stage` is trained for."""
        if stage == EMBEDDING:
            return self.embedding_steps
        if stage == DEEP:
            return self.deep_steps
        return self.layer_steps

    def trains_on_class(self, stage: str) -> bool:
        """Whether `stage` draws pictures of the class and trains on them too."""
        if stage == DEEP:
            return self.dual_prior_weight > 0
        return self.prior_preservation and stage in PRIOR_STAGES

    @property
    def is_deep(self) -> bool:
        """Whether the strategy learns a deep concept."""
        return DEEP in STAGES[self.strategy]

    def describe(self) -> dict[str, Any]:
        """All values by name, for printing and for the recipe in a personalization; later ones only where they count.

        Files of subjects that were saved before there were own templates and deep concepts say nothing of them, and are
        still the same. The weight of what is outside masks is said by `Stage`, which knows whether there are any.
        """
        values = asdict(self)
        for name in WITH_MASKS:
            del values[name]
        for name in REGULARIZERS:
            if not values[name]:
                del values[name]
        if not self.dual_prior_weight:
            del values["dual_prior_images"]
        if not self.templates:
            del values["templates"]
        if not self.is_deep:
            for name in DEEP_SETTINGS:
                values.pop(name, None)
        return values


def _recipe_values(recipe: Recipe, strategy: str, method: str) -> dict[str, Any]:
    """The recipe's value of every setting that a user may leave open."""
    layer_steps = recipe.lora_steps
    layer_learning_rate = recipe.lora_learning_rate
    if method == "full":
        layer_steps = recipe.full_steps
        layer_learning_rate = recipe.full_learning_rate
    if strategy == "joint":
        layer_steps = recipe.joint_steps
    if strategy == "deep_two_stage":
        layer_steps = recipe.deep.layer_steps
    return {
        "embedding_steps": recipe.embedding_steps,
        "layer_steps": layer_steps,
        "embedding_learning_rate": recipe.embedding_learning_rate,
        "layer_learning_rate": layer_learning_rate,
        "rank": recipe.lora_rank,
        "vectors": recipe.vectors,
        "initialisation": recipe.initialisation,
        "per_image_token": recipe.per_image_token,
        "prior_preservation": False,
        "prior_weight": recipe.prior_weight,
        "prior_images": recipe.prior_images,
        "batch_size": recipe.batch_size,
        "micro_batch": recipe.micro_batch,
        "clip_norm": recipe.clip_norm,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "templates": (),
        "depth": recipe.deep.depth,
        "deep_steps": recipe.deep.steps,
        "deep_learning_rate": recipe.deep.learning_rate,
        "image_concept": recipe.deep.image_concept,
        "background_weight": BACKGROUND_WEIGHT,
        "context_weight": recipe.deep.context_weight,
        "dual_prior_weight": recipe.deep.dual_prior_weight,
        "dual_prior_images": recipe.deep.dual_prior_images,
    }


def _regularizers(strategy: str, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, float]:
    """Their weights in `values`, all of them 0 where no image concept is learned, which they would regularize.

    Raises ValueError where one is among those that the user has `chosen` all the same.
    """
    if DEEP in STAGES[strategy] and values["image_concept"]:
        return {}
    for name in REGULARIZERS:
        if chosen.get(name):
            raise ValueError(
                f"{name} is {chosen[name]}, and there is no image concept that it could hold. Take the strategy deep "
                "or deep_two_stage with an image concept (--image-concept), or leave it at 0."
            )
    return dict.fromkeys(REGULARIZERS, 0.0)
