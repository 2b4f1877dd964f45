"""What is printed can neither lose work nor stop a command.

A Windows console has no letter for every name, a log may be read by `head` and closed early, a program without a window
has no console at all. Where a letter is missing its number is printed; where nobody listens any more, nothing is. Where
somebody does, and the disk that the log goes to is full, the command does its work and then says so.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}


class Console(io.TextIOBase):
    """Writes to `stream`, as far as that can take it; to nothing where it is None.

    `full` says why what somebody wants to read could not be written, or is "".
    """

    def __init__(self, stream: TextIO | None):
        self.stream = stream
        self.full = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if self.stream is not None:
            try:
                self.stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError) as error:  # closed, its reader has gone, or its disk is full
                self._leave(error)
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._leave(error)

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("there is no console")
        return self.stream.fileno()

    def _leave(self, error: OSError | ValueError) -> None:
        """Write nothing more; what is still in the stream's buffer must not fail when Python ends either."""
        if isinstance(error, OSError) and error.errno in FULL:
            self.full = error.strerror or str(error)
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
def forgiving_console() -> Iterator[Console]:
    """While this lasts, whatever is printed goes through `Console`; gives that of the standard output."""
    printed = Console(sys.stdout)
    with redirect_stdout(printed), redirect_stderr(Console(sys.stderr)):
        yield printed
