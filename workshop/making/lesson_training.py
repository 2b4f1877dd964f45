"""How a small network learns from numbered lessons, which processes may make beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .lessons_ahead import lessons_ahead
from .loop import Lesson, Log, Step, Training, with_peak
from .place import Place
from .schedules import warm_up_and_fall


@dataclass(frozen=True)
class Course:
    """How a network learns. `workers`: processes that make the lessons; 0 makes them in between."""

    steps: int
    rate: float
    warm_up: int
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = math.inf
    seed: int = 0
    place: Place = Place()
    workers: int = 0


def learn_lessons(
    network: nn.Module, loss_of: Callable[..., Tensor], lesson: Lesson, path: Path, course: Course, log: Log
) -> None:
    """Train `network` to the end, from its checkpoint at `path` where there is one; it is handed back on the CPU.

    `loss_of` takes what a lesson holds and returns a scalar.
    """
    device = course.place.device
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=course.weight_decay, betas=course.betas)
    with lessons_ahead(lesson, course.seed, course.workers) as take:

        def compute(step: int) -> Step:
            loss = loss_of(*(tensor.to(device) for tensor in take(step)))
            return Step(loss, loss.detach())

        training = Training(
            network,
            [with_peak(optimizer, course.rate)],
            path,
            course.steps,
            compute,
            schedule=lambda step: warm_up_and_fall(step, course.steps, course.warm_up, 0.5 * course.steps),
            clip_norm=course.clip_norm,
            log=log,
            place=course.place,
        )
        training.run(training.resume())
    network.cpu().eval()
