"""Lumina-mGPT 7B (1.0): its tokens, the paper's recipe, and where each value comes from.

The protocol was read in Alpha-VLLM's `data/item_processor.py`, `data/convertsation.py` and `inference_solver.py`. The
miniature follows it with names of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..checkpoints.find import ModelFolder, Sources
from ..text import TextTokenizer
from .family import PUBLISHED_DEEP, Family, Recipe
from .protocol import Protocol, size_frontier

SIZE_UNIT = 32  # pixels; there is a token for every multiple
CONTROL = re.compile(r"IMGIMG[A-J]+Z|<reserved\d+>|<image>")  # control tokens, whether a file marks them or not


def code_name(code: int) -> str:
    """The token of a code: its decimal digits as the letters A to J."""
    return f"IMGIMG{''.join(chr(ord('A') + int(digit)) for digit in str(code))}Z"


def reserved_name(number: int) -> str:
    """A reserved token. Chameleon's tokenizer gives number n the id n + 4."""
    return f"<reserved{number:05d}>"


@dataclass(frozen=True)
class TokenNames:
    """Names of the control tokens in the tokenizer's file."""

    begin: str
    turn_end: str
    image_start: str
    image_end: str
    row_end: str
    # Numbers of reserved tokens.
    size: int  # a side of n pixels has the token of this number + n / SIZE_UNIT
    identifier: int  # the first one whose place learned vectors may take


@dataclass(frozen=True, kw_only=True, eq=False)
class LuminaFamily(Family):
    """A family whose pictures have a header with their size, and an end to every row of codes."""

    architecture_name: str = "lumina-mgpt"
    instruction: str
    tokens: TokenNames

    def detect(self, folder: ModelFolder) -> bool:
        return folder.config.get("model_type") == "chameleon"

    def bind(self, text: TextTokenizer, folder: ModelFolder | None = None) -> Protocol:
        tokens = self.tokens
        named = [tokens.begin, tokens.turn_end, tokens.image_start, tokens.image_end, tokens.row_end]
        largest = max(max(size) for size in self.sizes) // SIZE_UNIT
        sizes = [reserved_name(tokens.size + n) for n in range(1, largest + 1)]
        identifiers = [reserved_name(tokens.identifier + n) for n in range(self.identifiers)]
        return Protocol(
            text=text,
            instruction=self.instruction,
            begin=text.id_of(tokens.begin),
            turn_end=text.id_of(tokens.turn_end),
            image_start=text.id_of(tokens.image_start),
            image_end=text.id_of(tokens.image_end),
            row_end=text.id_of(tokens.row_end),
            size_base=text.first_id_of(sizes) - 1,
            size_unit=SIZE_UNIT,
            code_base=text.first_id_of([code_name(code) for code in range(self.codes)]),
            codes=self.codes,
            factor=self.factor,
            identifier_base=text.first_id_of(identifiers),
            identifiers=self.identifiers,
            control=text.special_ids() | text.ids_matching(CONTROL) | {text.id_of(name) for name in named},
        )


SOURCES = Sources(
    image_tokenizer=("vqgan.safetensors", "vqvae.safetensors", "vqgan.ckpt"),
    image_tokenizer_advice="vqgan.ckpt (Meta's Chameleon download) or vqgan.safetensors (model.safetensors of "
    "leloy/Anole-7b-v0.1-vqvae-hf, renamed)",
    tokenizer=("tokenizer.json", "text_tokenizer.json"),
    tokenizer_advice="tokenizer.json (Alpha-VLLM/Lumina-mGPT-7B-768) or text_tokenizer.json (Meta's Chameleon "
    "download)",
    places=(".", "tokenizer", "chameleon/tokenizer", "original_tokenizers", ".."),
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
    "strategy": "stated",
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
    "deep": "published in arXiv 2508.07341 for this model, but for the layers' steps",
}

# Ours, for a card of 12 GB: a thirtieth of the paper's pairs in stage 1 and half of them in stage 2, made up for by
# views of the photos and a start at the class word's embedding; pictures of 512 px, whose pairs cost less than half of
# those of 768 px. How long that takes, by arithmetic: docs/hardware.md. Not tried on the 7B yet.
ARTIST_RECIPE = replace(
    PAPER_RECIPE,
    embedding_steps=100,
    initialisation="class",
    lora_steps=100,
    joint_steps=150,
    batch_size=4,
    micro_batch=0,
    gradient_checkpointing=False,
    views=3,
    view_shift=0.05,
    view_scale=0.9,
    training_size=(512, 512),
    deep=replace(PUBLISHED_DEEP, steps=250),  # as many pairs, in batches of four
)

# Published for 768 px: 2.2 for a window of 16, 4.2 for 64 (coupled); between them interpolated.
CODES_PER_STEP = {1: 1.0, 4: 1.4, 8: 1.8, 16: 2.2, 32: 3.2, 64: 4.2}

LUMINA_768 = LuminaFamily(
    name="lumina-mgpt-768",
    title="Lumina-mGPT 7B, 768 px",
    licence="Chameleon research licence (non-commercial)",
    recipe=PAPER_RECIPE,
    artist_recipe=ARTIST_RECIPE,
    sizes=size_frontier(768),
    codes=8192,
    factor=16,
    identifiers=128,
    codes_per_step=CODES_PER_STEP,
    sources=SOURCES,
    instruction="Generate an image of {width}x{height} according to the following prompt:\n{prompt}",
    tokens=TokenNames(
        begin="<s>",
        turn_end="<reserved08706>",
        image_start="<racm3:break>",
        image_end="<eoss>",
        row_end="<reserved08799>",
        size=8800,
        identifier=16200,
    ),
    question="The files of Lumina-mGPT do not say for which resolution it was trained, so 768 px is taken. If this is "
    "the model for 512 or 1024 px, choose the family lumina-mgpt-512 or lumina-mgpt-1024, or write it into config.json "
    'as "family": "lumina-mgpt-512".',
)
LUMINA_512 = replace(
    LUMINA_768,
    name="lumina-mgpt-512",
    title="Lumina-mGPT 7B, 512 px",
    sizes=size_frontier(512),
    recipe=replace(PAPER_RECIPE, size=(512, 512)),
)
LUMINA_1024 = replace(
    LUMINA_768,
    name="lumina-mgpt-1024",
    title="Lumina-mGPT 7B, 1024 px",
    sizes=size_frontier(1024),
    recipe=replace(PAPER_RECIPE, size=(1024, 1024)),
)
