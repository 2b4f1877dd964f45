"""Ctrl-C, and SIGTERM, by which `docker stop` and job schedulers end a program: what is done is kept."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A Cancel that follows Ctrl-C and SIGTERM: the first ends the run after this step, saving, the second at once."""

    def __init__(self) -> None:
        self.asked = False
        if _in_main_thread():
            for number in SIGNALS:
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler)
        print("\nStopping after this step (press Ctrl-C again to stop at once)", file=sys.stderr)

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """While this lasts, SIGTERM raises KeyboardInterrupt as Ctrl-C does; at the end the signals are as they were."""
    if not _in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if before[signal.SIGTERM] == signal.SIG_DFL:  # not where a host handles it, or `nohup` ignores it
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _in_main_thread() -> bool:
    """Where Python lets signals be handled."""
    return threading.current_thread() is threading.main_thread()
