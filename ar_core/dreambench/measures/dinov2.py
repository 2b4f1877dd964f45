"""DINOv2: subject fidelity by a newer network, which tells subjects apart better than DINO does."""

from __future__ import annotations

from ..architectures import Architecture
from ..encoders import DINO_INPUT, MoreEncoder
from .likeness import likeness_measure

# The model card's own preprocessing is DINO's: shorter side to 256, the middle 224 x 224.
ENCODER = MoreEncoder(
    "dinov2",
    "facebook/dinov2-small",
    DINO_INPUT,
    Architecture(
        "dinov2",
        "Dinov2Model",
        "facebook/dinov2-small or facebook/dinov2-base",
        {"hidden_size": (384, 768), "num_hidden_layers": (12,), "patch_size": (14,)},
    ),
)
DINOV2 = likeness_measure("dinov2", "DINOv2", "Oquab et al. 2023, arXiv 2304.07193", ENCODER.name, (ENCODER,))
