"""Sharing a benchmark among the processes that `accelerate launch` or `torchrun` started.

They join before anything is loaded: what does not belong together says so at once, and each loads onto its own card.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..devices import joins_processes
from .dataset import BenchSubject

LONGEST = timedelta(days=30)  # that one process waits for another: subjects take hours, and not all the same


def wait_for_nobody() -> None:
    """There are no other processes to wait for."""


@dataclass(frozen=True)
class Processes:
    """This process among those that share the work."""

    rank: int = 0
    count: int = 1
    wait_for_others: Callable[[], None] = wait_for_nobody

    def share(self, subjects: Sequence[BenchSubject]) -> list[BenchSubject]:
        """This process's own part of the subjects: every `count`-th, so that all finish at about the same time."""
        return list(subjects[self.rank :: self.count])


ALONE = Processes()


def join_processes() -> Processes:
    """Meet the processes that were started together; ALONE where there is one.

    Raises RuntimeError where there are several and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return ALONE
    try:
        from accelerate import PartialState  # only needed with several processes
    except ImportError as error:  # torchrun starts them without it
        raise RuntimeError(
            f"Several processes share a benchmark through the package accelerate ({error}). Install it "
            "(pip install accelerate), or start one process."
        ) from error

    # Left to itself it does not join processes without a graphics card, nor those on a Mac.
    state = PartialState(cpu=not joins_processes(), timeout=LONGEST)
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone)
