"""Checkpoints of the miniature's own trainings: model, optimizers and step in one safetensors file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ar_core.files import prefixed, read_tensors, write_tensors
from ar_core.training.optimizer_state import load_optimizer, optimizer_tensors

Optimizers = list[torch.optim.Optimizer]


def save_training(
    path: Path, step: int, total: int, model: nn.Module, optimizers: Optimizers, extra: dict[str, Tensor]
) -> None:
    """Write atomically: a crash leaves the previous checkpoint."""
    tensors = prefixed("model.", model.state_dict()) | prefixed("extra.", extra)
    for number, optimizer in enumerate(optimizers):
        tensors |= prefixed(f"optimizer.{number}.", optimizer_tensors(optimizer))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {"step": str(step), "total": str(total)})


def load_training(path: Path, model: nn.Module, optimizers: Optimizers, extra: dict[str, Tensor]) -> int:
    """Fill model, optimizers and the `extra` tensors in place; returns the step to go on from."""
    file = read_tensors(path)
    for name, value in file.part("extra.").items():
        extra[name].copy_(value)
    for number, optimizer in enumerate(optimizers):
        load_optimizer(optimizer, file.part(f"optimizer.{number}."))
    model.load_state_dict(file.part("model."))
    return int(file.metadata["step"])


def lesson_weights(path: Path) -> dict[str, Tensor]:
    return read_tensors(path).part("model.")


def checkpoint_progress(path: Path) -> tuple[int, int]:
    """(steps done, steps planned) of a checkpoint."""
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"]), int(file.metadata().get("total", 0))
