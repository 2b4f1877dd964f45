"""Memory and disk that a training needs, refused before it starts when short."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import torch

from ..adapters import target_shapes
from ..transformer import Transformer

FLOAT = 4  # bytes; gradients, Adam's two moments and the learned values are all float32


class NotEnough(RuntimeError):
    """Too little memory or disk; the message names the need, what there is, and the setting that fits."""


def trainable_parameters(transformer: Transformer, method: str, rank: int) -> int:
    shapes = target_shapes(transformer).values()
    return sum(out * inputs if method == "full" else rank * (out + inputs) for out, inputs in shapes)


def check_budget(transformer: Transformer, method: str, rank: int, folder: Path) -> None:
    """Raise NotEnough unless learned values, gradients and moments fit beside the loaded model, and two states on disk."""
    count = trainable_parameters(transformer, method, rank)
    memory, disk = 4 * count * FLOAT, 2 * 3 * count * FLOAT
    advice = "Choose the method LoRA, which needs a hundredth." if method == "full" else "Choose a lower rank."
    device = transformer.compute_device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if memory > free:
        raise NotEnough(
            f"Training {count / 1e6:.1f}M parameters needs {memory / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free. {advice}"
        )
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if disk > free:
        raise NotEnough(
            f"Training {count / 1e6:.1f}M parameters needs {disk / 2**30:.1f} GiB of disk in {folder}, {free / 2**30:.1f} GiB are free. {advice}"
        )
