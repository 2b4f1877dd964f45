"""What a user may set when training; None means the family's recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..families.family import Family

STRATEGIES = {
    "two_stage": "the paper: first the identifier's embedding, then the layers on top of it",
    "embedding_only": "the identifier's embedding alone (Textual Inversion)",
    "joint": "embedding and layers together from the start (DreamBooth)",
}
METHODS = ("lora", "full")
INITIALISATIONS = ("class", "random")


@dataclass(frozen=True)
class TrainingSettings:
    """Resolved values of one training; `steps` are counted per stage and never decide how a step is made."""

    strategy: str
    method: str
    embedding_steps: int
    layer_steps: int
    embedding_learning_rate: float
    layer_learning_rate: float
    rank: int
    vectors: int
    initialisation: str
    per_image_token: bool
    prior_preservation: bool
    prior_weight: float
    prior_images: int
    batch_size: int
    micro_batch: int
    clip_norm: float
    gradient_checkpointing: bool
    seed: int

    @classmethod
    def resolve(
        cls, family: Family, *, strategy: str = "two_stage", method: str = "lora", seed: int = 0, **chosen
    ) -> TrainingSettings:
        """Fill every value that is not in `chosen` (or is None there) from the family's recipe.

        Raises ValueError, naming value and range, for what cannot be meant.
        """
        if strategy not in STRATEGIES:
            raise ValueError(f'There is no strategy "{strategy}". Choose one of: {", ".join(STRATEGIES)}.')
        if method not in METHODS:
            raise ValueError(f'There is no method "{method}". Choose one of: {", ".join(METHODS)}.')
        recipe = family.recipe
        full = method == "full"
        values = {
            "embedding_steps": recipe.embedding_steps,
            "layer_steps": recipe.joint_steps
            if strategy == "joint"
            else recipe.full_steps
            if full
            else recipe.lora_steps,
            "embedding_learning_rate": recipe.embedding_learning_rate,
            "layer_learning_rate": recipe.full_learning_rate if full else recipe.lora_learning_rate,
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
        }
        unknown = set(chosen) - set(values)
        if unknown:
            raise ValueError(f"There is no training setting {sorted(unknown)[0]!r}. Settings: {', '.join(values)}.")
        values |= {key: value for key, value in chosen.items() if value is not None}
        settings = cls(strategy=strategy, method=method, seed=int(seed), **values)
        settings._check(family)
        return settings

    def _check(self, family: Family) -> None:
        for name in ("embedding_steps", "layer_steps", "rank", "vectors", "batch_size", "micro_batch", "prior_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("embedding_learning_rate", "layer_learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0.")
        if self.initialisation not in INITIALISATIONS:
            raise ValueError(f'initialisation is "{self.initialisation}"; choose one of: {", ".join(INITIALISATIONS)}.')
        if self.vectors > family.identifiers // 2:
            raise ValueError(f"vectors is {self.vectors}; this model has room for {family.identifiers // 2}.")

    def describe(self) -> dict[str, object]:
        return asdict(self)
