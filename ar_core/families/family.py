"""A family of models: how its files are recognised, its protocol, its recipe and its licence."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..checkpoints.find import ModelFolder, Sources
from ..text import TextTokenizer
from .protocol import Protocol, Size, nearest_size


@dataclass(frozen=True)
class DeepRecipe:
    """How a deep concept is learned (training/deep.py) when the user leaves a setting at "auto".

    `learning_rate`: in units of each layer's own states. `layer_steps`: of the layers on top of it. The weights are
    those of what holds an image concept back (training/regularizers.py).
    """

    depth: int  # layers
    steps: int
    learning_rate: float
    layer_steps: int
    image_concept: bool = False
    context_weight: float = 0.0
    dual_prior_weight: float = 0.0
    dual_prior_images: int = 8

    def __str__(self) -> str:
        """ "depth 3, 80 steps at 0.01, then 40 of the layers"."""
        words = (
            f"depth {self.depth}, {self.steps} steps at {self.learning_rate:g}, then {self.layer_steps} of the layers"
        )
        if not self.image_concept:
            return words
        return (
            f"{words}; image concept, context weight {self.context_weight:g}, dual prior weight "
            f"{self.dual_prior_weight:g} on {self.dual_prior_images} pictures"
        )


# Published for Lumina-mGPT 7B, which has 32 layers (Wu et al. 2025, arXiv 2508.07341): depth 9, rate 1e-2, a thousand
# pairs, which are 125 batches of eight, six to eight class pictures. The steps of the layers are ours, and nobody has
# tried them there; so are the units in which the context is held.
PUBLISHED_DEEP = DeepRecipe(
    depth=9,
    steps=125,
    learning_rate=1e-2,
    layer_steps=100,
    image_concept=True,
    context_weight=5e-4,
    dual_prior_weight=1e-2,
)


@dataclass(frozen=True)
class Recipe:
    """How this family is personalized and sampled when the user leaves a setting at "auto"."""

    # Stage 1: the identifier's embedding
    embedding_steps: int
    embedding_learning_rate: float
    vectors: int
    initialisation: str  # "class": the class word's embedding; "random": normal at words' median norm
    per_image_token: bool
    # Stage 2: the transformer's layers
    lora_steps: int
    lora_learning_rate: float
    lora_rank: int
    full_steps: int
    full_learning_rate: float
    # Joint training of both from the start
    joint_steps: int
    # Both stages
    batch_size: int
    micro_batch: int  # pairs per forward pass; 0: as many as fit
    clip_norm: float
    gradient_checkpointing: bool  # trades a third more time for most of the activations' memory; exact
    # Photos
    views: int  # seeded views of each photo, beside the photo itself
    view_shift: float  # of the frame's side, at most
    view_scale: float  # smallest share of the frame that a view shows
    view_flip: bool
    # Prior preservation (Ruiz et al. 2023)
    prior_weight: float
    prior_images: int
    # Sampling
    cfg: float
    top_k: int
    temperature: float
    size: Size
    # Training on smaller pictures than are drawn costs less time; None: the same size
    training_size: Size | None = None
    deep: DeepRecipe = PUBLISHED_DEEP
    # The strategy of training where the user leaves it open: the one that won by measurement, else the paper's
    strategy: str = "two_stage"

    @property
    def learned_size(self) -> Size:
        """Size of the pictures that are trained on."""
        return self.training_size or self.size


@dataclass(frozen=True, kw_only=True, eq=False)
class Family(ABC):
    """What is known of a family before a file is read, and how its files are understood.

    A model is loaded in this order: `detect` tells the family by config.json and the names of the tensors, `sources`
    says where the tokenizers lie, `bind` makes the protocol of the text tokenizer, and only then are weights read.
    """

    name: str  # as --family and config.json write it
    title: str  # as users read it
    licence: str  # of the weights
    architecture_name: str  # as files of what was learned call it
    recipe: Recipe
    sizes: tuple[Size, ...]  # those that it was trained to draw
    codes: int  # entries of the image tokenizer's codebook
    factor: int  # pixels per code along one side
    identifiers: int  # reserved tokens that learned vectors may take the place of
    sources: Sources
    # Fields of TransformerConfig that config.json does not hold and that differ from the defaults there.
    architecture: Mapping[str, Any] = field(default_factory=dict)
    # Ours, for who cannot wait as long as the family's own recipe takes; None: that one is quick enough.
    artist_recipe: Recipe | None = None
    # Whether a graph's "paper" means `recipe`, as graphs that were saved before there was a choice have it.
    own_recipe_is_papers: bool = True
    # What files of what was learned say of the licence, where it asks that its terms be passed on.
    licence_notice: str = ""
    # By positions decoded at a time, the codes that a step gives where that is published: for estimates alone.
    codes_per_step: Mapping[int, float] = field(default_factory=dict)
    # One sentence for the user where the family was recognised by its files alone, which cannot tell everything.
    question: str = ""

    @abstractmethod
    def detect(self, folder: ModelFolder) -> bool:
        """Whether what `folder` contains can be a model of this family. The folder's own name says nothing."""

    @abstractmethod
    def bind(self, text: TextTokenizer, folder: ModelFolder) -> Protocol:
        """The protocol, with ids as `text` has them; `folder` for ids that depend on config.json.

        Raises CheckpointError for a tokenizer that lacks one.
        """

    def doubt(self, text: TextTokenizer, folder: ModelFolder) -> str:
        """A sentence for the user where the files may not belong together, though nothing proves it; else ""."""
        return ""

    def estimated_codes_per_step(self, window: int) -> float:
        """One where nothing is published."""
        return self.codes_per_step.get(window, 1.0)

    def snap(self, width: int, height: int) -> Size:
        """The size nearest to the wish that this family draws: first in aspect ratio, then in area."""
        return nearest_size(self.sizes, width, height)

    def size_for(self, width: int, height: int) -> Size:
        """The size nearest to this aspect ratio with the recipe's area."""
        scale = math.sqrt(self.recipe.size[0] * self.recipe.size[1] / (width * height))
        return self.snap(round(width * scale), round(height * scale))
