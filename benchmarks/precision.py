"""What a precision costs in quality, on the miniature, against float32:

    python -m benchmarks.precision [--scenes N] [--pictures N] [--json FILE]

Loss: nats per code of drawn scenes that were held out from training, given their captions and all earlier codes; the
difference to float32 with its standard error over scenes. Same top code: how often both precisions find the same code
likeliest there. Pictures: one code at a time at guidance 4, same prompts and seeds; how many codes are
equal, and how many come before the first that is not (behind it two pictures are different samples, not worse ones).
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_core.files import write_json
from ar_core.memory import weight_bytes
from ar_core.model import ARModel
from ar_core.photos import stack
from ar_core.sampling import SamplingSettings
from ar_core.tables import markdown_table
from ar_core.training.examples import Batch, make_training_batch
from workshop.world.captions import describe_scene
from workshop.world.drawing import draw_scene
from workshop.world.random_scenes import random_scene

from .common.machine import machine
from .decode import MINIATURE_CFG, MINIATURE_PROMPTS

REFERENCE = "fp32"
PRECISIONS: dict[str, dict[str, Any]] = {
    REFERENCE: {"dtype": torch.float32},
    "bf16": {"dtype": torch.bfloat16},
    "int8, the rest fp32": {"dtype": torch.float32, "quantized": "int8"},
    "int8, the rest bf16": {"dtype": torch.bfloat16, "quantized": "int8"},
    "4-bit, the rest fp32": {"dtype": torch.float32, "quantized": "4-bit"},
    "4-bit, the rest bf16": {"dtype": torch.bfloat16, "quantized": "4-bit"},
}
BATCH = 8


@dataclass
class Seen:
    """What one precision makes of the same scenes and prompts."""

    losses: Tensor  # (scenes,) nats per code
    top: Tensor  # (scenes, codes) likeliest code
    pictures: Tensor  # (pictures, codes)
    weights: int  # bytes of the transformer


def held_out_captions(model: ARModel, count: int) -> list[tuple[list[int], Tensor]]:
    """Captions' ids and codes (rows, columns) of held-out scenes."""
    rng = random.Random("precision")
    drawn = [random_scene(rng, held_out=True) for _ in range(count)]
    size = model.family.recipe.size
    codes = torch.cat([model.encode(stack([draw_scene(scene, size[0])])) for scene in drawn])
    return [
        (model.protocol.prompt(describe_scene(scene), size), grid) for scene, grid in zip(drawn, codes, strict=True)
    ]


@torch.inference_mode()
def precision_losses(model: ARModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss of each sequence (B,) and the likeliest codes (B, codes)."""
    transformer = model.transformer
    scored = batch.targets >= 0
    embeddings = transformer.embed(batch.ids).to(transformer.dtype)
    logits = transformer.image_logits(transformer(embeddings)[scored])
    losses = F.cross_entropy(logits, batch.targets[scored], reduction="none")
    return losses.view(len(batch.ids), -1).mean(1), logits.argmax(-1).view(len(batch.ids), -1)


def observe_precision(model: ARModel, pairs: list[tuple[list[int], Tensor]], pictures: int) -> Seen:
    """What `model` makes of these captions with codes, and of the prompts."""
    size = model.family.recipe.size
    losses: list[Tensor] = []
    top: list[Tensor] = []
    for start in range(0, len(pairs), BATCH):
        batch = make_training_batch(pairs[start : start + BATCH], model.protocol, size)
        batch_losses, batch_top = precision_losses(model, batch)
        losses.append(batch_losses)
        top.append(batch_top)
    drawn = []
    for number in range(pictures):
        settings = SamplingSettings.resolve(model.family, cfg=MINIATURE_CFG, seed=number, window=1)
        drawn.append(model.generate(MINIATURE_PROMPTS[number % len(MINIATURE_PROMPTS)], settings)[0].codes.flatten())
    return Seen(torch.cat(losses), torch.cat(top), torch.stack(drawn), weight_bytes(model.transformer))


def compare_precisions(seen: Seen, reference: Seen) -> dict[str, float]:
    difference = seen.losses - reference.losses
    equal = seen.pictures == reference.pictures
    return {
        "loss": float(seen.losses.mean()),
        "loss_difference": float(difference.mean()),
        "loss_difference_error": float(difference.std()) / math.sqrt(len(difference)),
        "same_top_code": float((seen.top == reference.top).float().mean()),
        "equal_codes": float(equal.float().mean()),
        "codes_before_first_difference": statistics.median(equal.int().cumprod(1).sum(1).tolist()),
        "weights_mib": seen.weights / 2**20,
    }


def result_cells(result: dict[str, float]) -> list[str]:
    """One precision's row of the table."""
    return [
        f"{result['weights_mib']:.1f} MiB",
        f"{result['loss']:.4f}",
        f"{result['loss_difference']:+.4f} ± {result['loss_difference_error']:.4f}",
        f"{100 * result['same_top_code']:.1f} %",
        f"{100 * result['equal_codes']:.0f} %",
        f"{result['codes_before_first_difference']:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    print(f"{machine(torch.device('cpu'))}\n{arguments.scenes} held-out scenes, {arguments.pictures} pictures")
    models = {name: ARModel.load("miniature", **options) for name, options in PRECISIONS.items()}
    pairs = held_out_captions(models[REFERENCE], arguments.scenes)
    seen = {name: observe_precision(model, pairs, arguments.pictures) for name, model in models.items()}
    results = {name: compare_precisions(found, seen[REFERENCE]) for name, found in seen.items()}
    head = ["precision", "weights", "loss per code", "difference", "same top code", "equal codes"]
    rows = [[name, *result_cells(result)] for name, result in results.items()]
    print("\n".join(markdown_table([*head, "before the first difference (median)"], rows)))
    if arguments.json:
        write_json(arguments.json, {"machine": machine(torch.device("cpu")), **results})


if __name__ == "__main__":
    main()
