"""Sharing a benchmark among the processes that `accelerate launch` or `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..devices import joins_processes
from .dataset import BenchSubject


def wait_for_nobody() -> None:
    """There are no other processes to wait for."""


@dataclass(frozen=True)
class Share:
    """This process's part of the work."""

    subjects: list[BenchSubject]
    rank: int = 0
    processes: int = 1
    wait_for_others: Callable[[], None] = wait_for_nobody


def share_of_subjects(subjects: Sequence[BenchSubject]) -> Share:
    """Every process gets its own subjects; all of them where there is one process.

    Raises RuntimeError where there are several and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return Share(list(subjects))
    try:
        from accelerate import PartialState  # only needed with several processes
    except ImportError as error:  # torchrun starts them without it
        raise RuntimeError(
            f"Several processes share a benchmark through the package accelerate ({error}). Install it "
            "(pip install accelerate), or start one process."
        ) from error

    # Left to itself it does not join processes without a graphics card, nor those on a Mac.
    state = PartialState(cpu=not joins_processes())
    with state.split_between_processes(list(range(len(subjects)))) as mine:
        own = [subjects[index] for index in mine]
    return Share(own, state.process_index, state.num_processes, state.wait_for_everyone)
