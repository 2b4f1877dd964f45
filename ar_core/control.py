"""Progress and cancel: the two callables that every long function takes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what is happening
Cancel = Callable[[], bool]  # True once the user wants to stop
Handler = Callable[[int, FrameType | None], Any]  # of a signal
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what `docker stop` and job schedulers send


class Cancelled(Exception):
    """The user stopped a long function; what it had finished is kept."""


def silent(done: int, total: int, message: str) -> None:
    """A Progress that shows nothing."""


def never() -> bool:
    """A Cancel that never asks to stop."""
    return False


def stop_if(cancel: Cancel) -> None:
    """Raise Cancelled once the user wants to stop."""
    if cancel():
        raise Cancelled("Stopped at your request.")


def in_main_thread() -> bool:
    """Where Python lets signals be handled."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def signals_held_back() -> Iterator[None]:
    """While this lasts, Ctrl-C and SIGTERM wait; what they do is done at the end."""
    if not in_main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Handler] = {}
    for interruption in INTERRUPTIONS:
        handler = signal.getsignal(interruption)
        if callable(handler):
            handlers[interruption] = handler
            signal.signal(interruption, lambda *call: arrived.append(call))
    try:
        yield
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)
    for number, frame in arrived:
        handlers[number](number, frame)
