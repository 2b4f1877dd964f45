"""Checkpoints of the miniature's own trainings: model, optimizers and step in one safetensors file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

Optimizers = list[torch.optim.Optimizer]


def save_training(
    path: Path, step: int, total: int, model: nn.Module, optimizers: Optimizers, extra: dict[str, Tensor]
) -> None:
    """Write atomically: a crash leaves the previous checkpoint."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"extra.{k}": v for k, v in extra.items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"step": str(step), "total": str(total)})
    partial.replace(path)


def load_training(path: Path, model: nn.Module, optimizers: Optimizers, extra: dict[str, Tensor]) -> int:
    """Fill model, optimizers and the `extra` tensors in place; returns the step to go on from."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    with safe_open(path, "pt") as file:
        for key in file.keys():
            kind, _, name = key.partition(".")
            if kind == "extra":
                extra[name].copy_(file.get_tensor(key))
            elif kind == "optimizer":
                number, index, field = name.split(".")
                states[int(number)].setdefault(int(index), {})[field] = file.get_tensor(key)
    for optimizer, state in zip(optimizers, states):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    model.load_state_dict(trained_weights(path))
    return progress(path)[0]


def trained_weights(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return {k.removeprefix("model."): file.get_tensor(k) for k in file.keys() if k.startswith("model.")}


def progress(path: Path) -> tuple[int, int]:
    """(steps done, steps planned) of a checkpoint."""
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"]), int(file.metadata().get("total", 0))
