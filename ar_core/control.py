"""Progress and cancel: the two callables that every long function takes."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what is happening
Cancel = Callable[[], bool]  # True once the user wants to stop


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
