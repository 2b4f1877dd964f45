"""SIGTERM, by which `docker stop` and service managers end ComfyUI: what is being made is saved first."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import comfy.model_management as memory

from .private import event_loop, loop_handler


@contextmanager
def saved_on_termination() -> Iterator[None]:
    """While this lasts, SIGTERM interrupts what runs as the user's Cancel does; afterwards the process ends.

    Where somebody else handles the signal, or this system has none, nothing changes. May be nested: the process ends
    after the outermost, which handles the signal.
    """
    loop = event_loop()
    if loop is None:
        yield
        return
    termination = Termination(loop)
    loop.call_soon_threadsafe(termination.handle)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(termination.leave)


class Termination:
    """Handles SIGTERM in the loop's thread, the only one where signals can be handled."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.loop = loop
        self.asked = threading.Event()
        self.ours: tuple[object, object] | None = None  # what handles the signal, once it is we who do

    def handle(self) -> None:
        """Begin, where nobody else handles the signal."""
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; a loop that is not the main thread's
            self.loop.add_signal_handler(signal.SIGTERM, self._interrupt)
            self.ours = self._handlers()

    def leave(self) -> None:
        """End, and the process too if that was asked for. A handler that somebody else added meanwhile stays."""
        if self.ours is not None and self.ours == self._handlers():
            with suppress(NotImplementedError, RuntimeError, ValueError):
                self.loop.remove_signal_handler(signal.SIGTERM)
        if self.asked.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def _interrupt(self) -> None:
        self.asked.set()
        memory.interrupt_current_processing()

    def _handlers(self) -> tuple[object, object]:
        """Python's handler of the signal, which the loops set, and that which this loop then calls."""
        return signal.getsignal(signal.SIGTERM), loop_handler(self.loop, signal.SIGTERM)
