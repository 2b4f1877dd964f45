"""How long published models take on a few cards, by arithmetic alone (nothing is measured), and what fits them:

    python -m benchmarks.hardware [--page docs/hardware.md]

A step takes as long as reading the weights and the KV cache at the bandwidth that is reached, or as multiplying at the
rate that is reached, whichever is longer. The shares that are assumed to be reached stand in `CARDS`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from ar_core.families.family import Recipe
from ar_core.families.protocol import Size
from ar_core.files import write_text
from ar_core.memory import trainable_parameters, training_bytes
from ar_core.quantization import SCHEMES
from ar_core.sampling.settings import auto_window
from ar_core.tables import markdown_table
from ar_core.training.passes import Passes, quickest_first
from ar_core.training.settings import EMBEDDING, LAYERS
from ar_core.training.stages import sampled_steps

from . import memory
from .common.counted import MODELS, CountedModel

PROMPT = 40  # tokens
SAMPLES = 4  # pictures that a training node draws on the way
BFLOAT16 = 2  # bytes
DIRECT_ROWS = {"int8": 0, "4-bit": 8}  # rows up to which a product reads what is stored; above, it is turned into bf16
# Seconds of a step on an H200, which waited for its host there: docs/card/h200.md, 32 layers, 768 px, operations
# started one by one. For one position, and for the window that "auto" takes.
STARTED = {None: (16.46e-3, 17.95e-3), "int8": (33.17e-3, 35.22e-3), "4-bit": (24.28e-3, 38.42e-3)}
STARTED_LAYERS = 32


@dataclass(frozen=True)
class Card:
    """Bandwidth and arithmetic of a card by its data sheet, and the shares of both that are assumed to be reached."""

    name: str
    gigabytes: int
    bandwidth: float  # bytes per second
    rate: float  # operations per second, dense, bfloat16 with float32 sums
    reached_bandwidth: float
    reached_rate: float

    def seconds(self, read: float, operations: float) -> float:
        """Reading and multiplying at the same time."""
        return max(self.reading(read), operations / (self.rate * self.reached_rate))

    def reading(self, count: float) -> float:
        """Seconds for so many bytes."""
        return count / (self.bandwidth * self.reached_bandwidth)


# The rates of the RTX 30 cards are 512 operations a clock in each multiprocessor, as their data sheets multiply out.
CARDS = (
    Card("RTX 3070 8 GB", 8, 448e9, 40.6e12, 0.85, 0.65),
    Card("RTX 3060 12 GB", 12, 360e9, 25.5e12, 0.85, 0.65),
    Card("RTX 3090 24 GB", 24, 936e9, 71e12, 0.85, 0.65),
    Card("RTX 4090 24 GB", 24, 1008e9, 165e12, 0.85, 0.65),
    Card("H100 80 GB", 80, 3350e9, 990e12, 0.80, 0.55),
)
GIB_FREE = {**memory.CARDS, 80: 78.0}


@dataclass(frozen=True)
class Times:
    """Seconds of a recipe on a card."""

    stage_one: float
    stage_two: float  # LoRA
    first_sample: float  # from the start to the first picture of what has been learned
    samples: int  # pictures drawn on the way, in both stages


@dataclass(frozen=True, eq=False)
class Held:
    """A model on a card."""

    model: CountedModel
    card: Card
    scheme: str | None  # in which its weights are held there; None: bfloat16

    @property
    def precision(self) -> str:
        return self.scheme or "bf16"

    def window(self) -> int:
        """Positions of a step: those that "auto" takes, or one where nobody published what more would give."""
        if not self.model.windows:
            return 1
        return auto_window("cuda", memory.DTYPE, 1, self.model.transformer.hidden_size, self.scheme)

    def steps(self, size: Size) -> float:
        """Of one picture."""
        return self.model.protocol.layout(size).codes / self.model.family.estimated_codes_per_step(self.window())

    def picture_seconds(self, size: Size) -> float:
        """One picture with guidance."""
        config = self.model.transformer
        rows = 2 * self.window()
        half = self._tokens(size) / 2  # what the cache holds on average
        cache = 2 * 2 * config.num_hidden_layers * half * config.hidden_size * BFLOAT16
        operations = 2.0 * self._weights() * rows
        operations += 4 * rows * half * config.hidden_size * config.num_hidden_layers
        stored = float(BFLOAT16)
        turned = 0.0
        if self.scheme is not None and rows <= DIRECT_ROWS[self.scheme]:
            stored = self._stored(self.scheme)
        elif self.scheme is not None:
            turned = self._turning(self.scheme)
        read = stored * self.model.layer_weights() + BFLOAT16 * self.model.head_weights() + cache
        return self.steps(size) * (turned + self.card.seconds(read, operations))

    def started_seconds(self, size: Size) -> float:
        """One picture where a host starts every operation, which no card makes faster."""
        one, several = STARTED[self.scheme]
        step = several
        if self.window() == 1:
            step = one
        started = self.steps(size) * step * self.model.transformer.num_hidden_layers / STARTED_LAYERS
        return max(started, self.picture_seconds(size))

    def started_training_seconds(self, recipe: Recipe) -> float | None:
        """Both stages where a host starts every operation of their samples; None where they do not fit."""
        times = self.times(recipe)
        if times is None:
            return None
        longer = self.started_seconds(recipe.learned_size) - self.picture_seconds(recipe.learned_size)
        return times.stage_one + times.stage_two + times.samples * longer

    def pair_seconds(self, size: Size, checkpointing: bool) -> float:
        """Forward and the gradients of activations for one pair; the frozen weights have none."""
        config = self.model.transformer
        tokens = self._tokens(size)
        passes = 2
        if checkpointing:
            passes = 3
        operations = 2.0 * passes * self._weights() * tokens
        operations += 4 * tokens**2 / 2 * config.hidden_size * config.num_hidden_layers * (passes - 1 + 2.5)
        turned = 0.0
        if self.scheme is not None:
            turned = passes * self._turning(self.scheme)
        return turned + self.card.seconds(0, operations)

    def passes(self, recipe: Recipe) -> Passes | None:
        """How a step's pairs go through the model when a LoRA is trained; None where not even one fits."""
        config = self.model.transformer
        free = GIB_FREE[self.card.gigabytes] * 2**30 - memory.held_bytes(self.model, self.scheme)
        transformer = memory.transformer_shapes(config, self.scheme)
        parameters = trainable_parameters(transformer, "lora", recipe.lora_rank)
        wanted = [Passes(recipe.micro_batch, recipe.gradient_checkpointing)]
        if not recipe.micro_batch:
            wanted = quickest_first(recipe.batch_size, recipe.gradient_checkpointing)
        for passes in wanted:
            shapes = (config, self.model.protocol, recipe.learned_size)
            needed = training_bytes(*shapes, passes.micro_batch, passes.gradient_checkpointing, BFLOAT16, parameters)
            if needed <= free:
                return passes
        return None

    def times(self, recipe: Recipe) -> Times | None:
        """None where it does not fit."""
        passes = self.passes(recipe)
        if passes is None:
            return None
        pair = self.pair_seconds(recipe.learned_size, passes.gradient_checkpointing)
        sample = self.picture_seconds(recipe.learned_size)
        step = recipe.batch_size * pair
        shown = sampled_steps(EMBEDDING, recipe.embedding_steps, SAMPLES)
        shown_later = sampled_steps(LAYERS, recipe.lora_steps, SAMPLES)
        return Times(
            recipe.embedding_steps * step + len(shown) * sample,
            recipe.lora_steps * step + len(shown_later) * sample,
            shown[0] * step + sample,
            len(shown) + len(shown_later),
        )

    def _tokens(self, size: Size) -> int:
        """Of a prompt and a picture."""
        return PROMPT + self.model.tokens(size)

    def _weights(self) -> int:
        return self.model.layer_weights() + self.model.head_weights()

    def _stored(self, scheme: str) -> float:
        """Bytes of a weight."""
        return SCHEMES[scheme].bits / 8

    def _turning(self, scheme: str) -> float:
        """Seconds beside a product for turning the layers' weights into bfloat16: read what is stored, write bf16."""
        return self.card.reading((self._stored(scheme) + BFLOAT16) * self.model.layer_weights())


def held_on(model: CountedModel) -> list[Held]:
    """The model on every card that holds it, in the most precise way in which pictures and both stages fit."""
    found = []
    for card in CARDS:
        schemes = memory.schemes_that_fit(model, GIB_FREE[card.gigabytes])
        if schemes:
            found.append(Held(model, card, schemes[0]))
    return found


def time_text(seconds: float | None) -> str:
    """ "45 s", "19 min", "21 h"."""
    if seconds is None:
        return "does not fit"
    if seconds < 1:
        return "under 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def time_table(model: CountedModel) -> list[str]:
    """Seconds of every use on every card, as lines of Markdown."""
    cards = held_on(model)
    head = [f"{model.name}, by arithmetic", *(f"{held.card.name}, {held.precision}" for held in cards)]
    size = model.family.recipe.size
    picture = f"one picture, {size[0]} px"
    rows = [
        [picture, *(time_text(held.picture_seconds(size)) for held in cards)],
        [f"{picture}, operations started one by one", *(time_text(held.started_seconds(size)) for held in cards)],
    ]
    for name, recipe in model.recipes:
        times = [held.times(recipe) for held in cards]
        for title, field in (
            ("stage 1", "stage_one"),
            ("stage 2, LoRA", "stage_two"),
            ("first sample", "first_sample"),
        ):
            cells = [time_text(None if found is None else getattr(found, field)) for found in times]
            rows.append([f"{name}: {title}", *cells])
        passes = [held.passes(recipe) for held in cards]
        rows.append([f"{name}: pairs at a time", *map(passes_text, passes)])
    return markdown_table(head, rows)


def passes_text(passes: Passes | None) -> str:
    if passes is None:
        return "none"
    if passes.gradient_checkpointing:
        return f"{passes.micro_batch}, checkpointing"
    return str(passes.micro_batch)


PAGE = """# Hardware

**Nobody has run the published weights on a card with this code yet**; random weights of Lumina-mGPT 7B's size ran on an
H200: [card/h200.md](card/h200.md). What follows is arithmetic, written by `python -m
benchmarks.hardware --page docs/hardware.md`: the data sheet of a card, of which 85 % of the bandwidth and 65 % of the
arithmetic are assumed to be reached (80 and 55 % on an H100), and the bytes and operations of a model's shapes. On each
card a model is held in the most precise way in which pictures and both stages fit.

Windows of several codes are counted for Lumina-mGPT with the rates of acceptance published for it: 2.2 codes per step
for a window of 16 (speculative Jacobi decoding, Teng et al. 2024, arXiv 2410.01699) and 4.2 for one of 64 (its coupled
form), interpolated between. **For Janus-Pro no published number was found**, so sequential decoding is counted: one
code per step. The sampler takes windows there too; how many steps they save, and whether that pays, was not measured.

"operations started one by one": what a picture takes at least where a step waits until its host has started every
operation, as nodes do it. That was measured on an H200 with random weights of Lumina-mGPT 7B's size, and is counted by
the number of layers; another host takes more or less. On fast cards it decides. The command line replays recorded steps
on NVIDIA cards, which come closer to the row above.

## Time

{times}

The recipe **artist** is ours (`python -m ar_core info --recipe artist` lists what differs from the paper): what a node
takes when you place it. **paper** has the values of arXiv 2504.13162 where they are known and assumptions of ours
elsewhere (`info --recipe paper` says which is which). It is what 0 means in workflows that were saved before there was
a choice, and what the command line takes for Lumina-mGPT 7B unless `--recipe artist` is given. Janus-Pro's own recipe
is ours and was not tried on its weights: the steps of artist, at 384 px. "first sample": the first of four that a
training node draws on the way. Pairs and samples are counted by their arithmetic alone; a fast card waits for its host
there too.

## Memory

Training is counted with one pair at a time and its activations computed again (checkpointing).

{memory}
"""


def page() -> str:
    """docs/hardware.md."""
    times = ["\n".join(time_table(model)) for model in MODELS]
    return PAGE.format(times="\n\n".join(times), memory="\n".join(memory.all_tables()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="write the page there")
    options = parser.parse_args()
    if options.page:
        write_text(options.page, page())
    for model in MODELS:
        print("\n".join(time_table(model)), end="\n\n")


if __name__ == "__main__":
    main()
