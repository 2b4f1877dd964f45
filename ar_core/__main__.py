"""Where the command line begins: `python -m ar_core`, and the console script through `start`."""

from __future__ import annotations

import os
import signal

STOPPED = 130  # as in `cli`, which is not imported yet


def start(program: str | None = None) -> int:
    """Import and run the command line; returns its exit code. `program`: how it was called, None as a console script.

    The imports take seconds. Ctrl-C then ends the process at once: there is no work yet, and what is being imported may
    swallow a KeyboardInterrupt, or print it.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler == signal.default_int_handler:  # not where a shell lets it be ignored
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(STOPPED))
    try:
        from .cli import PROGRAM, main
    finally:
        signal.signal(signal.SIGINT, handler)
    return main(program=program or PROGRAM)


if __name__ == "__main__":
    raise SystemExit(start("python -m ar_core"))
