"""The one loop in which the workshop's networks are trained: numbered steps, a schedule, checkpoints to go on from."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from .checkpointing import Optimizers, load_training, save_training
from .place import Place

Log = Callable[[str], None]
Lesson = Callable[[int, int], tuple[Tensor, ...]]  # step, seed -> what a network's `loss` takes
SMOOTHING = 0.98  # of what is logged

logger = logging.getLogger(__name__)  # `log` is what prints a training's progress


@dataclass
class Step:
    """What one step computed: the `loss` to go down, and the `value` whose average is logged.

    A value that is a tensor is fetched from its device only when it is logged.
    """

    loss: Tensor
    value: Tensor | float


@dataclass
class Training:
    """A network, its optimizers and its checkpoint.

    `steps`: in all. `compute`: forward of a step, always the same for the same number. `schedule`: the learning rate of
    a step as a share of the peak, which every parameter group has as "peak". `extra`: tensors that belong to the
    checkpoint. `describe`: the line that is logged for an average. `on_step`: hears how many steps are done.
    `place`: until when it may train, and how often it saves.
    """

    network: nn.Module
    optimizers: Optimizers
    path: Path
    steps: int
    compute: Callable[[int], Step]
    schedule: Callable[[int], float]
    clip_norm: float = math.inf
    extra: dict[str, Tensor] = field(default_factory=dict)
    log: Log = print
    describe: Callable[[float], str] = "loss {:.3f}".format
    log_every: int = 100
    place: Place = Place()
    on_step: Callable[[int], None] | None = None

    def resume(self, path: Path | None = None) -> int:
        """Load the checkpoint at `path`, this training's own by default; returns the step to go on from."""
        path = path or self.path
        if not path.exists():
            logger.info("%s does not exist: training starts at step 0 of %d", path, self.steps)
            return 0
        start = load_training(path, self.network, self.optimizers, self.extra)
        logger.info("Training goes on from %s at step %d of %d", path, start, self.steps)
        return start

    def run(self, start: int) -> None:
        """Train from step `start` to the end.

        Raises OutOfTimeError, with everything saved, where the time is over before.
        """
        average: Tensor | float | None = None
        saved = time.monotonic()
        for number in range(start, self.steps):
            self._set_rates(self.schedule(number))
            step = self.compute(number)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            step.loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
            for optimizer in self.optimizers:
                optimizer.step()
            average = moving_average(average, step.value)
            if number % self.log_every == 0:
                self.log(f"{self.path.stem} step {number}/{self.steps} {self.describe(float(average))}")
            done = number + 1
            if self.on_step is not None:
                self.on_step(done)
            now = time.monotonic()
            if done == self.steps or now >= min(saved + self.place.save_seconds, self.place.until):
                self.save(self.path, done)
                saved = now
            if done < self.steps:
                self.place.check_time()

    def save(self, path: Path, done: int) -> None:
        """Write a checkpoint of the state after `done` steps."""
        save_training(path, done, self.steps, self.network, self.optimizers, self.extra)

    def _set_rates(self, share: float) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share


def moving_average(average: Tensor | float | None, value: Tensor | float) -> Tensor | float:
    """The moving average with one value more; None before the first."""
    if average is None:
        return value
    return SMOOTHING * average + (1 - SMOOTHING) * value


def with_peak(optimizer: torch.optim.Optimizer, rate: float) -> torch.optim.Optimizer:
    """`optimizer` with this highest learning rate in every group."""
    for group in optimizer.param_groups:
        group["peak"] = rate
    return optimizer


def timed_log() -> Log:
    """Prints messages with the minutes since now."""
    started = time.time()

    def log(message: str) -> None:
        print(f"[{(time.time() - started) / 60:7.2f} min] {message}", flush=True)

    return log
