"""What Lumina-mGPT 7B needs, computed from its shapes (nothing is measured):

python -m benchmarks.memory
"""

from __future__ import annotations

import functools

import torch

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.families.family import Family
from ar_core.families.lumina_mgpt import LUMINA_512, LUMINA_768, LUMINA_1024
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.memory import picture_bytes, size_text, trainable_parameters, training_bytes, weight_bytes
from ar_core.quantization import quantize
from ar_core.tables import markdown_table
from ar_core.transformer import Transformer

from .random_checkpoint import protocol_of

DTYPE = torch.bfloat16
KINDS = {"bfloat16": None, "int8, the rest bfloat16": "int8", "4-bit, the rest bfloat16": "4-bit"}  # title -> scheme
FAMILIES = (LUMINA_512, LUMINA_768, LUMINA_1024)
CARDS = {8: 7.2, 12: 11.2, 16: 15.1, 24: 23.0}  # GB on the box -> GiB that are assumed free beside a desktop


@functools.cache
def transformer_7b(scheme: str | None) -> Transformer:
    """Its shapes alone, quantised where `scheme` says how."""
    transformer = Transformer(TransformerConfig(), device="meta", dtype=DTYPE)
    if scheme:
        quantize(transformer, scheme)
    return transformer


def bytes_by_use(family: Family, scheme: str | None = None) -> dict[str, float]:
    """Bytes by use, weights included, with the recipe's size and micro batch."""
    recipe = family.recipe
    protocol = protocol_of(family)
    config = TransformerConfig()
    vq = ImageTokenizerConfig()
    transformer = transformer_7b(scheme)
    weights = weight_bytes(transformer) + weight_bytes(ImageTokenizer(vq, device="meta"))
    lora = trainable_parameters(transformer, "lora", recipe.lora_rank)
    full = trainable_parameters(transformer, "full", recipe.lora_rank)
    unmerged = 0
    if scheme:
        unmerged = lora

    def training(parameters: int) -> float:
        return weights + training_bytes(
            config, protocol, recipe.size, recipe.micro_batch, recipe.gradient_checkpointing, DTYPE.itemsize, parameters
        )

    drawing = picture_bytes(transformer, vq, protocol, recipe.size, 1, recipe.cfg, unmerged=unmerged, previews=False)
    found = {
        "weights": weights,
        "one picture": weights + drawing,
        "stage 1": training(0),
        f"stage 2, LoRA rank {recipe.lora_rank}": training(lora),
    }
    if not scheme:
        found["stage 2, full q/k/v"] = training(full)
    return found


def uses_that_fit(free: float, scheme: str | None) -> str:
    """What fits a card with `free` GiB without streaming, each use with the largest size."""
    tables = {family.recipe.size[0]: bytes_by_use(family, scheme) for family in FAMILIES}
    uses = [name for name in next(iter(tables.values())) if name != "weights"]
    sizes = {use: [pixels for pixels, table in tables.items() if table[use] <= free * 2**30] for use in uses}
    return ", ".join(f"{use} up to {max(fits)} px" for use, fits in sizes.items() if fits) or "nothing"


def tables() -> list[str]:
    """What each use needs, and what fits which card, as lines of Markdown."""
    lines = []
    for title, scheme in KINDS.items():
        found = [bytes_by_use(family, scheme) for family in FAMILIES]
        head = [f"{title}, computed", *(f"{family.recipe.size[0]} px" for family in FAMILIES)]
        rows = [[use, *(size_text(table[use]) for table in found)] for use in found[0]]
        lines += [*markdown_table(head, rows), ""]
    head = ["card, GiB assumed free, computed", *KINDS]
    rows = []
    for box, free in CARDS.items():
        rows.append([f"{box} GB, {free}", *(uses_that_fit(free, scheme) for scheme in KINDS.values())])
    return [*lines, *markdown_table(head, rows)]


def main() -> None:
    print("\n".join(tables()))


if __name__ == "__main__":
    main()
