"""The miniature: the small model of drawn scenes that ships."""

from __future__ import annotations

from .family import Family, Recipe
from .protocol import Protocol

# Views move the camera as the drawn world's own does. Steps: `python -m workshop.evaluation.choose_steps`, on subjects that no
# table reports; equal for all strategies, so that they can be compared. Guidance: docs/log.md.
MINIATURE = Family(
    "miniature",
    "the miniature (drawn scenes, 96 px)",
    Protocol(
        instruction="Draw {width}x{height}:\n{prompt}",
        begin=0,
        turn_end=1030,
        image_start=1029,
        image_end=1028,
        row_end=1031,
        size_base=1032,
        size_unit=32,
        code_base=4,
        codes=1024,
        factor=6,
        identifier_base=1040,
        identifiers=64,
        first_text=1104,
        sizes=((96, 96),),
    ),
    Recipe(
        embedding_steps=60,
        embedding_learning_rate=1e-2,
        vectors=1,
        initialisation="class",
        per_image_token=False,
        lora_steps=60,
        lora_learning_rate=1e-3,
        lora_rank=8,
        full_steps=60,
        full_learning_rate=3e-4,
        joint_steps=60,
        batch_size=8,
        micro_batch=8,
        clip_norm=1.0,
        gradient_checkpointing=False,
        views=7,
        view_shift=0.04,
        view_scale=0.95,
        view_flip=True,
        prior_weight=1.0,
        prior_images=16,
        cfg=2.0,
        top_k=20,
        temperature=1.0,
        size=(96, 96),
    ),
    "Apache-2.0",
)
