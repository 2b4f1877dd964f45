"""How long the 7B takes on a few cards, by arithmetic alone (nothing is measured), and what fits them:

    python -m benchmarks.hardware [--page docs/hardware.md]

A step takes as long as reading the weights and the KV cache at the bandwidth that is reached, or as multiplying at the
rate that is reached, whichever is longer. The shares that are assumed to be reached stand in `CARDS`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.families.family import Recipe
from ar_core.families.lumina_mgpt import ARTIST_RECIPE, LUMINA_768, PAPER_RECIPE
from ar_core.families.protocol import Size
from ar_core.files import write_text
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.memory import trainable_parameters, training_bytes, weight_bytes
from ar_core.sampling.settings import CODES_PER_STEP, auto_window
from ar_core.tables import markdown_table
from ar_core.training.passes import Passes, quickest_first
from ar_core.training.settings import EMBEDDING, LAYERS
from ar_core.training.stages import sampled_steps

from . import memory
from .random_checkpoint import protocol_of

CONFIG = TransformerConfig()
PROMPT = 40  # tokens
SAMPLES = 4  # pictures that a training node draws on the way
BFLOAT16 = 2  # bytes
INT8_TURNED = 5  # bytes moved per weight where int8 is turned into bfloat16 for a product: read 1, write 2, read 2


@dataclass(frozen=True)
class Card:
    """Bandwidth and arithmetic of a card by its data sheet, and the shares of both that are assumed to be reached."""

    name: str
    gigabytes: int
    bandwidth: float  # bytes per second
    rate: float  # operations per second, dense, bfloat16 with float32 sums
    reached_bandwidth: float
    reached_rate: float
    scheme: str | None = None  # in which the 7B is held there; None: bfloat16

    def seconds(self, read: float, operations: float) -> float:
        """Reading and multiplying at the same time."""
        return max(read / (self.bandwidth * self.reached_bandwidth), operations / (self.rate * self.reached_rate))


CARDS = (
    Card("RTX 3060 12 GB", 12, 360e9, 25.5e12, 0.85, 0.65, "int8"),
    Card("RTX 3090 24 GB", 24, 936e9, 71e12, 0.85, 0.65),
    Card("RTX 4090 24 GB", 24, 1008e9, 165e12, 0.85, 0.65),
    Card("H100 80 GB", 80, 3350e9, 990e12, 0.80, 0.55),
)
GIB_FREE = {**memory.CARDS, 80: 78.0}


def layer_weights() -> int:
    """Weights of all layers' projections."""
    square = CONFIG.hidden_size**2
    return CONFIG.num_hidden_layers * (4 * square + 3 * CONFIG.hidden_size * CONFIG.intermediate_size)


def head_weights() -> int:
    return CONFIG.head_size * CONFIG.hidden_size


def tokens_of(size: Size) -> int:
    """Tokens of a prompt and a picture."""
    return PROMPT + protocol_of(LUMINA_768).layout(size).padded_length


def picture_seconds(card: Card, size: Size) -> float:
    """One picture with guidance, in the window that "auto" takes."""
    window = auto_window("cuda", memory.DTYPE, 1, CONFIG.hidden_size, card.scheme)
    rows = 2 * window
    half = tokens_of(size) / 2  # what the cache holds on average
    cache = 2 * 2 * CONFIG.num_hidden_layers * half * CONFIG.hidden_size * BFLOAT16
    operations = 2.0 * (layer_weights() + head_weights()) * rows
    operations += 4 * rows * half * CONFIG.hidden_size * CONFIG.num_hidden_layers
    read = BFLOAT16 * (layer_weights() + head_weights()) + cache
    turned = 0.0
    if card.scheme == "int8":
        turned = (INT8_TURNED - BFLOAT16) * layer_weights() / (card.bandwidth * card.reached_bandwidth)
    steps = protocol_of(LUMINA_768).layout(size).codes / CODES_PER_STEP[window]
    return steps * (turned + card.seconds(read, operations))


def pair_seconds(card: Card, size: Size, checkpointing: bool) -> float:
    """Forward and the gradients of activations for one pair; the frozen weights have none."""
    tokens = tokens_of(size)
    passes = 2
    if checkpointing:
        passes = 3
    operations = 2.0 * passes * (layer_weights() + head_weights()) * tokens
    operations += 4 * tokens**2 / 2 * CONFIG.hidden_size * CONFIG.num_hidden_layers * (passes - 1 + 2.5)
    turned = 0.0
    if card.scheme == "int8":
        turned = passes * (INT8_TURNED - BFLOAT16) * layer_weights() / (card.bandwidth * card.reached_bandwidth)
    return turned + card.seconds(0, operations)


def passes_on(card: Card, recipe: Recipe) -> Passes | None:
    """How a step's pairs go through the model there when a LoRA is trained; None where not even one fits."""
    transformer = memory.transformer_7b(card.scheme)
    held = weight_bytes(transformer) + weight_bytes(ImageTokenizer(ImageTokenizerConfig(), device="meta"))
    free = GIB_FREE[card.gigabytes] * 2**30 - held
    parameters = trainable_parameters(transformer, "lora", recipe.lora_rank)
    wanted = [Passes(recipe.micro_batch, recipe.gradient_checkpointing)]
    if not recipe.micro_batch:
        wanted = quickest_first(recipe.batch_size, recipe.gradient_checkpointing)
    for passes in wanted:
        count, checkpointing = passes.micro_batch, passes.gradient_checkpointing
        shapes = (CONFIG, protocol_of(LUMINA_768), recipe.learned_size, count, checkpointing)
        if training_bytes(*shapes, BFLOAT16, parameters) <= free:
            return passes
    return None


@dataclass(frozen=True)
class Times:
    """Seconds of a recipe on a card."""

    stage_one: float
    stage_two: float  # LoRA
    first_sample: float  # from the start to the first picture of what has been learned


def recipe_times(card: Card, recipe: Recipe) -> Times | None:
    """None where it does not fit."""
    passes = passes_on(card, recipe)
    if passes is None:
        return None
    pair = pair_seconds(card, recipe.learned_size, passes.gradient_checkpointing)
    sample = picture_seconds(card, recipe.learned_size)
    step = recipe.batch_size * pair
    shown = sampled_steps(EMBEDDING, recipe.embedding_steps, SAMPLES)
    shown_later = sampled_steps(LAYERS, recipe.lora_steps, SAMPLES)
    return Times(
        recipe.embedding_steps * step + len(shown) * sample,
        recipe.lora_steps * step + len(shown_later) * sample,
        shown[0] * step + sample,
    )


TITLES = {"stage_one": "stage 1", "stage_two": "stage 2, LoRA", "first_sample": "first sample"}


def time_text(seconds: float | None) -> str:
    """ "45 s", "19 min", "21 h"."""
    if seconds is None:
        return "does not fit"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def held_text(card: Card) -> str:
    return f"{card.name}, {card.scheme or 'bf16'}"


def time_table() -> list[str]:
    """Seconds of every use on every card, as lines of Markdown."""
    head = ["7B, by arithmetic", *map(held_text, CARDS)]
    size = PAPER_RECIPE.size
    rows = [[f"one picture, {size[0]} px", *(time_text(picture_seconds(card, size)) for card in CARDS)]]
    for name, recipe in (("artist (ours), 512 px", ARTIST_RECIPE), ("paper, 768 px", PAPER_RECIPE)):
        times = [recipe_times(card, recipe) for card in CARDS]
        for title, field in (
            ("stage 1", "stage_one"),
            ("stage 2, LoRA", "stage_two"),
            ("first sample", "first_sample"),
        ):
            cells = [time_text(None if found is None else getattr(found, field)) for found in times]
            rows.append([f"{name}: {title}", *cells])
        passes = [passes_on(card, recipe) for card in CARDS]
        rows.append([f"{name}: pairs at a time", *map(passes_text, passes)])
    return markdown_table(head, rows)


def passes_text(passes: Passes | None) -> str:
    if passes is None:
        return "none"
    if passes.gradient_checkpointing:
        return f"{passes.micro_batch}, checkpointing"
    return str(passes.micro_batch)


PAGE = """# Hardware

**Nobody has run the 7B's own weights on a card with this code yet**; random weights of its size ran on an H200:
[card/h200.md](card/h200.md). What follows is arithmetic, written by `python -m
benchmarks.hardware --page docs/hardware.md`: the data sheet of a card, of which 85 % of the bandwidth and 65 % of the
arithmetic are assumed to be reached (80 and 55 % on an H100), and the bytes and operations of the model's shapes.
Windows of several codes are counted with the rates of acceptance published for this model: 2.2 codes per step for a
window of 16 (speculative Jacobi decoding, Teng et al. 2024, arXiv 2410.01699) and 4.2 for one of 64 (its coupled form),
interpolated between.

## Time

{times}

The recipe **artist** is ours (`python -m ar_core info --recipe artist` lists what differs from the paper): what a node
takes when you place it. **paper** has the values of arXiv 2504.13162 where they are known and assumptions of ours
elsewhere (`info --recipe paper` says which is which). It is what 0 means in workflows that were saved before there was
a choice, and what the command line takes for the 7B unless `--recipe artist` is given. "first sample": the first of
four that a training node draws on the way.

## Memory

{memory}
"""


def page() -> str:
    """docs/hardware.md."""
    return PAGE.format(times="\n".join(time_table()), memory="\n".join(memory.tables()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="write the page there")
    options = parser.parse_args()
    if options.page:
        write_text(options.page, page())
    print("\n".join(time_table()))


if __name__ == "__main__":
    main()
