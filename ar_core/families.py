"""What differs between models: one `Family` value each, with its token protocol and its recipe.

No other file knows one of these numbers. The protocol was read in Alpha-VLLM's `data/item_processor.py`,
`data/convertsation.py` and `inference_solver.py`; the recipe's values and where they come from are in
`PAPER_SOURCES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

Size = tuple[int, int]  # width, height in pixels


@dataclass(frozen=True)
class Protocol:
    """How a prompt and an image become one sequence of token ids."""

    instruction: str  # has {width}, {height} and {prompt}
    begin: int
    turn_end: int
    image_start: int
    image_end: int
    row_end: int
    size_base: int  # the token of a side of n pixels is size_base + n / size_unit
    size_unit: int
    code_base: int  # code i is token code_base + i
    codes: int
    factor: int  # pixels per code along one side
    identifier_base: int  # unused reserved tokens that learned vectors may take
    identifiers: int
    first_text: int  # lower ids are control tokens, which a user's text must not contain
    sizes: tuple[Size, ...]

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of codes for a (width, height)."""
        return size[1] // self.factor, size[0] // self.factor

    def header(self, size: Size) -> list[int]:
        """Start of an image block: start token, then height, then width."""
        width, height = size
        return [self.image_start, self.size_base + height // self.size_unit, self.size_base + width // self.size_unit]

    def image_block(self, codes: list[list[int]], size: Size) -> list[int]:
        """The whole block of an image, from start token to end token; `codes` is its grid of codes."""
        rows, columns = self.grid(size)
        if len(codes) != rows or any(len(row) != columns for row in codes):
            raise ValueError(f"An image of {size[0]}x{size[1]} needs {rows} rows of {columns} codes.")
        body = [token for row in codes for token in [*(self.code_base + code for code in row), self.row_end]]
        return [*self.header(size), *body, self.image_end]

    def snap(self, width: int, height: int) -> Size:
        """The allowed size closest to the wish: first in aspect ratio, then in area."""

        def distance(size: Size) -> tuple[float, int]:
            ratio = (size[0] / size[1]) / (width / height)
            return round(max(ratio, 1 / ratio), 3), abs(size[0] * size[1] - width * height)

        return min(self.sizes, key=distance)


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


def frontier(target: int, unit: int = 32, max_aspect: float = 4.0) -> tuple[Size, ...]:
    """Every (width, height) on the staircase of largest areas not above target², for aspects up to `max_aspect`.

    49, 73 and 97 sizes for 512, 768 and 1024, as upstream trains on.
    """
    area = (target // unit) ** 2
    sizes = []
    for columns in range(area, 0, -1):
        for rows in range(max(1, area // (columns + 1)), area // columns + 1):
            if max(columns / rows, rows / columns) <= max_aspect:
                sizes.append((columns * unit, rows * unit))
    return tuple(sizes)


LUMINA_PROTOCOL = Protocol(
    instruction="Generate an image of {width}x{height} according to the following prompt:\n{prompt}",
    begin=0, turn_end=8710, image_start=8197, image_end=8196, row_end=8803, size_base=8804, size_unit=32,
    code_base=4, codes=8192, factor=16, identifier_base=16204, identifiers=128, first_text=16384,
    sizes=frontier(768),
)  # fmt: skip

# The paper's settings (Sun et al. 2025, arXiv 2504.13162).
PAPER_RECIPE = Recipe(
    embedding_steps=1500, embedding_learning_rate=1e-2, vectors=1, initialisation="random", per_image_token=False,
    lora_steps=100, lora_learning_rate=1e-4, lora_rank=64, full_steps=70, full_learning_rate=5e-6,
    joint_steps=100, batch_size=8, micro_batch=1, clip_norm=1.0, gradient_checkpointing=True,
    views=0, view_shift=0.0, view_scale=1.0, view_flip=False, prior_weight=1.0, prior_images=100,
    cfg=4.0, top_k=2000, temperature=1.0, size=(768, 768),
)  # fmt: skip

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
    "lumina-mgpt-768", "Lumina-mGPT 7B, 768 px", LUMINA_PROTOCOL, PAPER_RECIPE, "Chameleon research licence (non-commercial)"
)
LUMINA_512 = replace(
    LUMINA_768, name="lumina-mgpt-512", title="Lumina-mGPT 7B, 512 px",
    protocol=replace(LUMINA_PROTOCOL, sizes=frontier(512)), recipe=replace(PAPER_RECIPE, size=(512, 512)),
)  # fmt: skip
LUMINA_1024 = replace(
    LUMINA_768, name="lumina-mgpt-1024", title="Lumina-mGPT 7B, 1024 px",
    protocol=replace(LUMINA_PROTOCOL, sizes=frontier(1024)), recipe=replace(PAPER_RECIPE, size=(1024, 1024)),
)  # fmt: skip

# Views move the camera as the drawn world's own does. Steps: `python -m ar_core.miniature.choose_steps`, on subjects that no
# table reports; equal for all strategies, so that they can be compared. Guidance: docs/log.md.
MINIATURE = Family(
    "miniature", "the miniature (drawn scenes, 96 px)",
    Protocol(
        instruction="Draw {width}x{height}:\n{prompt}",
        begin=0, turn_end=1030, image_start=1029, image_end=1028, row_end=1031, size_base=1032, size_unit=32,
        code_base=4, codes=1024, factor=6, identifier_base=1040, identifiers=64, first_text=1104,
        sizes=((96, 96),),
    ),
    Recipe(
        embedding_steps=60, embedding_learning_rate=1e-2, vectors=1, initialisation="class", per_image_token=False,
        lora_steps=60, lora_learning_rate=1e-3, lora_rank=8, full_steps=60, full_learning_rate=3e-4,
        joint_steps=60, batch_size=8, micro_batch=8, clip_norm=1.0, gradient_checkpointing=False,
        views=7, view_shift=0.04, view_scale=0.95, view_flip=True, prior_weight=1.0, prior_images=16,
        cfg=2.0, top_k=20, temperature=1.0, size=(96, 96),
    ),
    "Apache-2.0",
)  # fmt: skip

FAMILIES = {family.name: family for family in (LUMINA_768, LUMINA_512, LUMINA_1024, MINIATURE)}


def family_by_name(name: str) -> Family:
    if name not in FAMILIES:
        raise ValueError(f'There is no model family "{name}". Choose one of: {", ".join(FAMILIES)}.')
    return FAMILIES[name]
