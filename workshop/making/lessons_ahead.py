"""Numbered lessons, made by processes beside the training that takes them.

Drawing 64 pictures takes many times as long as a small network's step on a graphics card. A lesson depends on its step
and seed alone, so who made it makes no difference.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from .loop import Lesson

AHEAD = 4  # lessons that wait, for each process that makes them
Arrays = tuple[np.ndarray, ...]

_lesson: Lesson | None = None  # what a process of the pool makes


@contextmanager
def lessons_ahead(lesson: Lesson, seed: int, workers: int) -> Iterator[Callable[[int], tuple[Tensor, ...]]]:
    """Step -> its lesson, for steps that are asked for one after the other; without workers made when asked for."""
    if workers == 0:
        yield lambda step: lesson(step, seed)
        return
    context = multiprocessing.get_context("spawn")  # a forked copy of a process that holds a card cannot use it
    with ProcessPoolExecutor(workers, context, _remember, (lesson,)) as pool:
        queue = _Queue(pool, seed, workers * AHEAD)
        try:
            yield queue.take
        finally:
            queue.clear()


class _Queue:
    """Lessons that are being made, from the next one on."""

    def __init__(self, pool: ProcessPoolExecutor, seed: int, length: int):
        self.pool = pool
        self.seed = seed
        self.length = length
        self.next = 0
        self.coming: deque[Future[Arrays]] = deque()

    def take(self, step: int) -> tuple[Tensor, ...]:
        """The lesson of `step`, waited for; others follow it."""
        if not self.coming or step != self.next:
            self.clear()
            self.next = step
        while len(self.coming) < self.length:
            self.coming.append(self.pool.submit(_make, self.next + len(self.coming), self.seed))
        self.next += 1
        return tuple(torch.from_numpy(array) for array in self.coming.popleft().result())

    def clear(self) -> None:
        """Forget those that nobody has begun."""
        for future in self.coming:
            future.cancel()
        self.coming.clear()


def _remember(lesson: Lesson) -> None:
    global _lesson
    torch.set_num_threads(1)
    _lesson = lesson


def _make(step: int, seed: int) -> Arrays:
    if _lesson is None:
        raise RuntimeError("This process was not told which lessons to make.")
    return tuple(tensor.numpy() for tensor in _lesson(step, seed))
