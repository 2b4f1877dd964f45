"""Lumina-mGPT 7B: its tokens, the paper's recipe, and where each value comes from.

The protocol was read in Alpha-VLLM's `data/item_processor.py`, `data/convertsation.py` and `inference_solver.py`.
"""

from __future__ import annotations

from dataclasses import replace

from .family import Family, Recipe
from .protocol import Protocol, frontier

LUMINA_PROTOCOL = Protocol(
    instruction="Generate an image of {width}x{height} according to the following prompt:\n{prompt}",
    begin=0,
    turn_end=8710,
    image_start=8197,
    image_end=8196,
    row_end=8803,
    size_base=8804,
    size_unit=32,
    code_base=4,
    codes=8192,
    factor=16,
    identifier_base=16204,
    identifiers=128,
    first_text=16384,
    sizes=frontier(768),
)

# The paper's settings (Sun et al. 2025, arXiv 2504.13162).
PAPER_RECIPE = Recipe(
    embedding_steps=1500,
    embedding_learning_rate=1e-2,
    vectors=1,
    initialisation="random",
    per_image_token=False,
    lora_steps=100,
    lora_learning_rate=1e-4,
    lora_rank=64,
    full_steps=70,
    full_learning_rate=5e-6,
    joint_steps=100,
    batch_size=8,
    micro_batch=1,
    clip_norm=1.0,
    gradient_checkpointing=True,
    views=0,
    view_shift=0.0,
    view_scale=1.0,
    view_flip=False,
    prior_weight=1.0,
    prior_images=100,
    cfg=4.0,
    top_k=2000,
    temperature=1.0,
    size=(768, 768),
)

# Where each value of PAPER_RECIPE comes from; what is missing here is our assumption.
PAPER_SOURCES = {
    "initialisation": "stated: random",
    "cfg": "stated",
    "top_k": "stated",
    "embedding_learning_rate": "reported for the long version, unverified",
    "embedding_steps": "reported for the long version, unverified (about 1500)",
    "full_learning_rate": "reported for the long version, unverified",
    "full_steps": "reported for the long version, unverified (about 70)",
    "lora_steps": "reported for the long version, unverified (100-170)",
    "lora_rank": "inferred from the reported 50.4M trainable parameters",
    "batch_size": "reported for the long version, unverified (about 8 pairs)",
    "per_image_token": "reported for the long version, unverified; an option here",
}

LUMINA_768 = Family(
    "lumina-mgpt-768",
    "Lumina-mGPT 7B, 768 px",
    LUMINA_PROTOCOL,
    PAPER_RECIPE,
    "Chameleon research licence (non-commercial)",
)
LUMINA_512 = replace(
    LUMINA_768,
    name="lumina-mgpt-512",
    title="Lumina-mGPT 7B, 512 px",
    protocol=replace(LUMINA_PROTOCOL, sizes=frontier(512)),
    recipe=replace(PAPER_RECIPE, size=(512, 512)),
)
LUMINA_1024 = replace(
    LUMINA_768,
    name="lumina-mgpt-1024",
    title="Lumina-mGPT 7B, 1024 px",
    protocol=replace(LUMINA_PROTOCOL, sizes=frontier(1024)),
    recipe=replace(PAPER_RECIPE, size=(1024, 1024)),
)
