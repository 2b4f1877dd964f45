"""Ctrl-C, and SIGTERM, by which `docker stop` and job schedulers end a program: what is done is kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..control import INTERRUPTIONS, in_main_thread


class Interruption:
    """A Cancel that follows Ctrl-C and SIGTERM: the first ends the run after this step, saving, the second at once.

    A signal that is ignored stays so: a shell lets its background jobs ignore the Ctrl-C of what runs in front. Only
    inside `keyboard_interrupts`, which gives the signals back at its end.
    """

    def __init__(self) -> None:
        self.asked = False
        self.followed: list[signal.Signals] = []
        if in_main_thread():
            self.followed = [number for number in INTERRUPTIONS if signal.getsignal(number) != signal.SIG_IGN]
        for number in self.followed:
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        for each in self.followed:
            signal.signal(each, signal.default_int_handler)
        print("\nStopping after this step (press Ctrl-C again to stop at once)", file=sys.stderr)

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """While this lasts, SIGTERM raises KeyboardInterrupt as Ctrl-C does; at the end the signals are as they were."""
    if not in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    if before[signal.SIGTERM] == signal.SIG_DFL:  # not where a host handles or ignores it
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
