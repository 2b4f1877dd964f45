"""What the published models need, computed from their shapes (nothing is measured):

python -m benchmarks.memory
"""

from __future__ import annotations

import functools

import torch

from ar_core.architecture import TransformerConfig
from ar_core.families.protocol import Size
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.memory import picture_bytes, size_text, trainable_parameters, training_bytes, weight_bytes
from ar_core.quantization import quantize
from ar_core.tables import markdown_table
from ar_core.training.passes import Passes
from ar_core.transformer import Transformer

from .common.counted import MODELS, CountedModel

DTYPE = torch.bfloat16
KINDS = {"bfloat16": None, "int8, the rest bfloat16": "int8", "4-bit, the rest bfloat16": "4-bit"}  # title -> scheme
CARDS = {8: 7.2, 12: 11.2, 16: 15.1, 24: 23.0}  # GB on the box -> GiB that are assumed free beside a desktop
PICTURE = "one picture"
FULL = "stage 2, full q/k/v"


@functools.cache
def transformer_shapes(config: TransformerConfig, scheme: str | None) -> Transformer:
    """A transformer without numbers, quantised where `scheme` says how."""
    transformer = Transformer(config, device="meta", dtype=DTYPE)
    if scheme:
        quantize(transformer, scheme)
    return transformer


def held_bytes(model: CountedModel, scheme: str | None) -> int:
    """Weights of the transformer and of the image tokenizer, which stays in float32."""
    tokenizer = ImageTokenizer(model.image_tokenizer, device="meta")
    return weight_bytes(transformer_shapes(model.transformer, scheme)) + weight_bytes(tokenizer)


def smallest_passes(model: CountedModel) -> Passes:
    """How a step's pairs go through the model: the recipe's way, or where it takes what fits the one with least."""
    recipe = model.family.recipe
    if recipe.micro_batch:
        return Passes(recipe.micro_batch, recipe.gradient_checkpointing)
    return Passes(1, True)


@functools.cache
def bytes_by_use(model: CountedModel, size: Size, scheme: str | None = None) -> dict[str, float]:
    """Bytes by use, weights included, for pictures of `size`."""
    recipe = model.family.recipe
    passes = smallest_passes(model)
    transformer = transformer_shapes(model.transformer, scheme)
    weights = held_bytes(model, scheme)
    lora = trainable_parameters(transformer, "lora", recipe.lora_rank)
    full = trainable_parameters(transformer, "full", recipe.lora_rank)
    unmerged = 0
    if scheme:
        unmerged = lora

    def training(parameters: int) -> float:
        return weights + training_bytes(
            model.transformer,
            model.protocol,
            size,
            passes.micro_batch,
            passes.gradient_checkpointing,
            DTYPE.itemsize,
            parameters,
        )

    drawing = picture_bytes(
        transformer, model.image_tokenizer, model.protocol, size, 1, recipe.cfg, unmerged=unmerged, previews=False
    )
    found = {
        "weights": weights,
        PICTURE: weights + drawing,
        "stage 1": training(0),
        f"stage 2, LoRA rank {recipe.lora_rank}": training(lora),
    }
    if not scheme:
        found[FULL] = training(full)
    return found


def schemes_that_fit(model: CountedModel, free: float) -> list[str | None]:
    """Those in which a picture of the recipe's size and both stages with a LoRA fit into `free` GiB, best first."""
    fitting = []
    for scheme in KINDS.values():
        table = bytes_by_use(model, model.family.recipe.size, scheme)
        if all(count <= free * 2**30 for use, count in table.items() if use != FULL):
            fitting.append(scheme)
    return fitting


def uses_that_fit(model: CountedModel, free: float, scheme: str | None) -> str:
    """What fits a card with `free` GiB without streaming, each use with the largest size."""
    tables = {size[0]: bytes_by_use(model, size, scheme) for size in model.sizes}
    uses = [name for name in next(iter(tables.values())) if name != "weights"]
    sizes = {use: [pixels for pixels, table in tables.items() if table[use] <= free * 2**30] for use in uses}
    fitting = {use: max(fits) for use, fits in sizes.items() if fits}
    if len(tables) == 1:
        return "; ".join(fitting) or "nothing"
    return ", ".join(f"{use} up to {pixels} px" for use, pixels in fitting.items()) or "nothing"


def tables(model: CountedModel) -> list[str]:
    """What each use needs, and what fits which card, as lines of Markdown."""
    lines = table_of_kinds(model)
    if len(model.sizes) > 1:
        lines = tables_of_sizes(model)
    head = ["card, GiB assumed free, computed", *KINDS]
    rows = []
    for box, free in CARDS.items():
        rows.append([f"{box} GB, {free}", *(uses_that_fit(model, free, scheme) for scheme in KINDS.values())])
    return [*lines, *markdown_table(head, rows)]


def tables_of_sizes(model: CountedModel) -> list[str]:
    """A table for each way to hold the weights, a column for each size."""
    lines = []
    for title, scheme in KINDS.items():
        found = [bytes_by_use(model, size, scheme) for size in model.sizes]
        head = [f"{title}, computed", *(f"{pixels} px" for pixels in model.pixels)]
        rows = [[use, *(size_text(table[use]) for table in found)] for use in found[0]]
        lines += [*markdown_table(head, rows), ""]
    return lines


def table_of_kinds(model: CountedModel) -> list[str]:
    """One table for a model of one size, a column for each way to hold the weights."""
    found = [bytes_by_use(model, model.sizes[0], scheme) for scheme in KINDS.values()]
    rows = []
    for use in found[0]:
        rows.append([use, *(size_text(table[use]) if use in table else "–" for table in found)])
    return [*markdown_table([f"{model.pixels[0]} px, computed", *KINDS], rows), ""]


def all_tables() -> list[str]:
    """Those of all models under a heading each."""
    lines = []
    for model in MODELS:
        lines += [f"### {model.name}", "", *tables(model), ""]
    return lines[:-1]


def main() -> None:
    print("\n".join(all_tables()))


if __name__ == "__main__":
    main()
