"""Where the command line begins: `python -m ar_core`, and the console script through `start`."""

from __future__ import annotations

STOPPED = 130  # as in `cli`, which is not imported yet


def start(program: str | None = None) -> int:
    """Import and run the command line; returns its exit code. `program`: how it was called, None as a console script.

    The imports take seconds, in which Ctrl-C ends the process as quietly as later.
    """
    try:
        from .cli import PROGRAM, main

        return main(program=program or PROGRAM)
    except KeyboardInterrupt:
        return STOPPED


if __name__ == "__main__":
    raise SystemExit(start("python -m ar_core"))
