"""Seconds per code of upstream's way and of ours, from the first code of an image to the N-th."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch

from ar_core.control import Cancelled
from ar_core.sampling import jacobi, sequential

from .upstream import Model, Naive

# Tokens per step that guesses of each window give on Lumina-mGPT at 768 px: 2.2 published for 16, 4.2 for 64 (coupled);
# the others are interpolated in log2(window). Simulated, not measured here.
SIMULATED = {4: 1.4, 8: 1.8, 16: 2.2, 32: 3.2, 64: 4.2}


@dataclass
class Clock:
    """Seconds per code, from the first code drawn to the last of `count`; `first`: seconds to the first code."""

    device: torch.device
    count: int
    began: float = field(default_factory=time.perf_counter)
    start: float = 0.0
    seconds: float = 0.0
    done: int = 0

    @property
    def first(self) -> float:
        return self.start - self.began

    def tick(self, done: int, *_) -> None:
        self.done = done
        if done in (1, self.count):
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            if done == 1:
                self.start = time.perf_counter()
            else:
                self.seconds = (time.perf_counter() - self.start) / (self.count - 1)

    def finished(self) -> bool:
        return self.done >= self.count


def time_naive(model: Model, count: int) -> Clock:
    clock = Clock(model.device, count)
    Naive(model).decode(count, clock.tick)
    return clock


def time_ours(model: Model, count: int, **options: bool) -> Clock:
    clock = Clock(model.device, count)
    try:
        sequential.decode(model.engine(**options), model.settings, progress=clock.tick, cancel=clock.finished)
    except Cancelled:  # the image goes on, the measurement does not
        pass
    return clock


def time_jacobi(model: Model, window: int, count: int, **options: bool) -> float:
    """Seconds per code, with a simulated rate of kept guesses."""
    settings, ticks = replace(model.settings, window=window), []

    def tick(done: int, *_) -> None:
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        ticks.append((time.perf_counter(), done))

    try:
        jacobi.decode(
            model.engine(window, **options),
            settings,
            progress=tick,
            cancel=lambda: bool(ticks) and ticks[-1][1] >= ticks[0][1] + count,
            coupling=Simulated(SIMULATED[window]),
        )
    except Cancelled:
        pass
    (start, first), (end, last) = ticks[0], ticks[-1]
    return (end - start) / (last - first)


class Simulated:
    """The real coupling at its real cost; how many guesses are kept comes from a given rate instead."""

    def __init__(self, tokens_per_step: float):
        self.rate, self.owed = tokens_per_step, 0.0

    def __call__(self, p, q, guess, numbers, positions):
        corrected, _ = jacobi.speculative(p, q, guess, numbers, positions)
        self.owed += self.rate
        count = int(self.owed)
        self.owed -= count
        kept = torch.arange(guess.shape[1], device=guess.device) < count - 1
        return corrected, kept.expand_as(guess)
