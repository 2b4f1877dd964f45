"""How much is drawn and trained: on a graphics card in minutes, on a CPU over days, or hardly anything as a trial."""

from __future__ import annotations

from dataclasses import dataclass

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.families.miniature import MINIATURE

from ..world.words import FIRST_CODE

IMAGE_TOKENIZER = ImageTokenizerConfig(
    ch=64, ch_mult=(1, 2), num_res_blocks=1, z_channels=128, embed_dim=16, n_embed=1024, patch=3, norm_groups=8
)
TRANSFORMER = TransformerConfig(
    vocab_size=1616,
    hidden_size=256,
    intermediate_size=704,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_first=FIRST_CODE,
    head_size=MINIATURE.codes,
)


@dataclass(frozen=True)
class Lessons:
    """The steps of one training, the scenes or sequences in each, and the highest learning rate."""

    steps: int
    batch: int
    rate: float

    @property
    def seen(self) -> int:
        """Scenes or sequences in all steps."""
        return self.steps * self.batch


@dataclass(frozen=True)
class Plan:
    """`scenes` are drawn, and both trainings see them again and again. `save_seconds`: between checkpoints."""

    scenes: int
    image_tokenizer: Lessons
    transformer: Lessons
    save_seconds: float


# On a card small steps cost as much as large ones: starting the kernels takes the time. On a CPU they cost in
# proportion, and many small ones teach more.
PLANS = {
    "card": Plan(256_000, Lessons(5_500, 128, 2e-3), Lessons(8_600, 256, 3e-3), save_seconds=60),
    "cores": Plan(160_000, Lessons(15_000, 16, 1e-3), Lessons(25_000, 16, 2e-3), save_seconds=300),
    "trial": Plan(64, Lessons(3, 4, 1e-3), Lessons(3, 4, 2e-3), save_seconds=1),
}
