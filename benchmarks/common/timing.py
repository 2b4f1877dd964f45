"""Seconds per code of upstream's way and of ours, from the first code of an image to the N-th."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ar_core.control import Cancelled
from ar_core.families.lumina_mgpt import CODES_PER_STEP
from ar_core.sampling import SamplingSettings, jacobi, sequential
from ar_core.sampling.engine import Engine

from .machine import finish, seconds_when_finished
from .upstream import Model, Naive


def seconds_in_turns(ways: dict[str, Callable[[], float]], repetitions: int) -> dict[str, float]:
    """Median seconds of every way; each says itself what it took. They take turns, since machines slow down at times.

    A first turn is left out: caches are cold, and kernels are chosen.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(1 + repetitions):
        for name, way in ways.items():
            seconds = way()
            if turn:
                taken[name].append(seconds)
    return {name: statistics.median(times) for name, times in taken.items()}


@dataclass
class Stopwatch:
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

    def tick(self, done: int, *_: object) -> None:
        self.done = done
        if done == 1:
            self.start = seconds_when_finished(self.device)
        elif done == self.count:
            self.seconds = (seconds_when_finished(self.device) - self.start) / (self.count - 1)

    def finished(self) -> bool:
        return self.done >= self.count


def median_step_seconds(engine: Engine, settings: SamplingSettings, steps: int) -> float:
    """Median seconds of a forward pass with everything around it, after the prompt and a first step."""
    ticks: list[float] = []
    decode = sequential.decode_sequentially if settings.window == 1 else jacobi.decode_jacobi
    with suppress(Cancelled):
        decode(
            engine,
            settings,
            progress=lambda *_: ticks.append(seconds_when_finished(engine.device)),
            cancel=lambda: len(ticks) > steps + 1,
        )
    return statistics.median(after - before for before, after in itertools.pairwise(ticks[1:]))


def time_naive(model: Model, count: int) -> Stopwatch:
    """Upstream's way."""
    watch = Stopwatch(model.device, count)
    Naive(model).decode(count, watch.tick)
    return watch


def time_ours(model: Model, count: int) -> Stopwatch:
    """One code at a time."""
    watch = Stopwatch(model.device, count)
    engine = model.engine()
    with suppress(Cancelled):  # the measurement ends before the image
        sequential.decode_sequentially(engine, model.settings, progress=watch.tick, cancel=watch.finished)
    return watch


def time_jacobi(model: Model, window: int, count: int) -> float:
    """Seconds per code, with a simulated rate of kept guesses."""
    settings = replace(model.settings, window=window)
    ticks: list[tuple[float, int]] = []  # when, and how many codes were done

    def tick(done: int, *_: object) -> None:
        finish(model.device)
        ticks.append((time.perf_counter(), done))

    with suppress(Cancelled):
        jacobi.decode_jacobi(
            model.engine(window),
            settings,
            progress=tick,
            cancel=lambda: bool(ticks) and ticks[-1][1] >= ticks[0][1] + count,
            coupling=Simulated(CODES_PER_STEP[window]),
        )
    start, first = ticks[0]
    end, last = ticks[-1]
    return (end - start) / (last - first)


class Simulated:
    """The real coupling at its real cost; how many guesses are kept comes from a given rate instead."""

    def __init__(self, tokens_per_step: float):
        self.rate = tokens_per_step
        self.owed = 0.0

    def __call__(
        self, p: Tensor, q: Tensor, guess: Tensor, numbers: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        corrected, _ = jacobi.speculative(p, q, guess, numbers, positions)
        self.owed += self.rate
        count = int(self.owed)
        self.owed -= count
        kept = torch.arange(guess.shape[1], device=guess.device) < count - 1
        return corrected, kept.expand_as(guess)
