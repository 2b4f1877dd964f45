"""SIGTERM, by which `docker stop` and service managers end ComfyUI: what is being made is saved first."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import comfy.model_management as memory

from .private import event_loop


@contextmanager
def saved_on_termination() -> Iterator[None]:
    """While this lasts, SIGTERM interrupts what runs as the user's Cancel does; afterwards the process ends.

    Where somebody else handles the signal, or this system has none, nothing changes.
    """
    loop = event_loop()
    if loop is None:
        yield
        return
    asked = threading.Event()

    def interrupt() -> None:
        asked.set()
        memory.interrupt_current_processing()

    loop.call_soon_threadsafe(_handle, loop, interrupt)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(_leave, loop, asked)


def _handle(loop: asyncio.AbstractEventLoop, interrupt: object) -> None:
    """In the loop's thread, the only one where signals can be handled."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; a loop that is not the main thread's
            loop.add_signal_handler(signal.SIGTERM, interrupt)  # type: ignore[arg-type]


def _leave(loop: asyncio.AbstractEventLoop, asked: threading.Event) -> None:
    with suppress(NotImplementedError, RuntimeError, ValueError):
        loop.remove_signal_handler(signal.SIGTERM)
    if asked.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
