"""The loop that trains the judges and the scorers: numbered lessons, a rate that falls to zero, checkpoints to go on from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from .checkpointing import load_training, save_training

Lesson = Callable[[int, int], tuple[Tensor, ...]]  # step, seed -> what `loss` takes


def train_small(
    network: nn.Module,
    lesson: Lesson,
    path: Path,
    steps: int,
    *,
    rate: float,
    warm_up: int,
    weight_decay: float,
    seed: int,
    betas: tuple[float, float] = (0.9, 0.999),
    clip_norm: float = math.inf,
    log: Callable[[str], None] = print,
) -> nn.Module:
    """Train `network` on `network.loss(*lesson(step, seed))` until `steps`, from its checkpoint at `path` where there is one.

    `rate` warms up over `warm_up` steps and falls to zero over the second half.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=weight_decay, betas=betas)
    start, average = load_training(path, network, [optimizer], {}) if path.exists() else 0, None
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warm_up, max(0.01, (steps - step) / (0.5 * steps)))
        loss = network.loss(*lesson(step, seed))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if step % 100 == 0:
            log(f"{path.stem} step {step}/{steps} loss {average:.3f}")
        if step % 200 == 199 or step + 1 == steps:
            save_training(path, step + 1, steps, network, [optimizer], {})
    return network.eval()
