"""What is printed can neither lose work nor fail a command.

A Windows console has no letter for every name, a log may be read by `head` and closed early, a program without a window
has no console at all. Where a letter is missing its number is printed; where nobody listens any more, nothing is.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO


class Console(io.TextIOBase):
    """Writes to `stream`, as far as that can take it; to nothing where it is None."""

    def __init__(self, stream: TextIO | None):
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if self.stream is not None:
            try:
                self.stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError):  # closed, or its reader has gone
                self._leave()
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            try:
                self.stream.flush()
            except (OSError, ValueError):
                self._leave()

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("there is no console")
        return self.stream.fileno()

    def _leave(self) -> None:
        """Write nothing more; what is still in the stream's buffer must not fail when Python ends either."""
        stream = self.stream
        self.stream = None
        if stream is None or all(stream is not own for own in (sys.__stdout__, sys.__stderr__)):
            return
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())  # as Python's documentation advises for SIGPIPE
            os.close(nothing)
        except (OSError, ValueError):
            return


@contextmanager
def forgiving_console() -> Iterator[None]:
    """While this lasts, whatever is printed goes through `Console`."""
    with redirect_stdout(Console(sys.stdout)), redirect_stderr(Console(sys.stderr)):
        yield
