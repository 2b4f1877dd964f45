"""A family of models: its protocol, its recipe and its licence."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .protocol import Protocol, Size


@dataclass(frozen=True)
class Recipe:
    """How this family is personalized and sampled when the user leaves a setting at "auto"."""

    # Stage 1: the identifier's embedding
    embedding_steps: int
    embedding_learning_rate: float
    vectors: int
    initialisation: str  # "class": the class word's embedding; "random": normal at the table's median norm
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
    micro_batch: int  # pairs per forward pass
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


@dataclass(frozen=True)
class Family:
    name: str
    title: str
    protocol: Protocol
    recipe: Recipe
    licence: str

    def size_for(self, width: int, height: int) -> Size:
        """The allowed size nearest to this aspect ratio with the recipe's area."""
        scale = math.sqrt(self.recipe.size[0] * self.recipe.size[1] / (width * height))
        return self.protocol.snap(round(width * scale), round(height * scale))
