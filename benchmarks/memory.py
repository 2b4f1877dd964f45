"""What Lumina-mGPT 7B needs, computed from its shapes (nothing is measured):

python -m benchmarks.memory
"""

from __future__ import annotations

import torch

from ar_core.families import LUMINA_512, LUMINA_768, LUMINA_1024, Family
from ar_core.image_tokenizer import ImageTokenizer, ImageTokenizerConfig
from ar_core.memory import image_bytes, sampling_bytes, training_bytes, weight_bytes
from ar_core.training.budget import trainable_parameters
from ar_core.transformer import Transformer, TransformerConfig

DTYPE = torch.bfloat16


def rows(family: Family) -> dict[str, float]:
    """Bytes by use, weights included, in bfloat16 with the recipe's size and micro batch."""
    recipe, protocol, config = family.recipe, family.protocol, TransformerConfig()
    transformer = Transformer(config, device="meta", dtype=DTYPE)
    vq = ImageTokenizerConfig()
    weights = weight_bytes(transformer) + weight_bytes(ImageTokenizer(vq, device="meta"))

    def training(method: str | None) -> float:
        count = trainable_parameters(transformer, method, recipe.lora_rank) if method else 0
        beside = training_bytes(config, protocol, recipe.size, recipe.micro_batch, recipe.gradient_checkpointing, DTYPE.itemsize, count)
        return weights + beside

    return {
        "weights": weights,
        "one picture": weights
        + max(sampling_bytes(config, protocol, recipe.size, 1, recipe.cfg, DTYPE.itemsize), image_bytes(vq, recipe.size)),
        "stage 1": training(None),
        f"stage 2, LoRA rank {recipe.lora_rank}": training("lora"),
        "stage 2, full q/k/v": training("full"),
    }


def main() -> None:
    families = (LUMINA_512, LUMINA_768, LUMINA_1024)
    tables = [rows(family) for family in families]
    print("| bfloat16, computed | " + " | ".join(f"{family.recipe.size[0]} px" for family in families) + " |")
    print("|---|" + "---|" * len(families))
    for name in tables[0]:
        print(f"| {name} | " + " | ".join(f"{table[name] / 2**30:.1f} GiB" for table in tables) + " |")


if __name__ == "__main__":
    main()
