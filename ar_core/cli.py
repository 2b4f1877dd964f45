"""The command line, `ar-personalize` or `python -m ar_core`: the table of its commands, which lie in `commands/`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .commands import demo, dreambench, forget, info, personalize, sample, score
from .commands.console import forgiving_console
from .commands.interruption import keyboard_interrupts
from .commands.output import PathParser
from .commands.settings_file import with_settings
from .control import Cancelled
from .devices import is_out_of_memory
from .quoting import quoted

PROGRAM = "ar-personalize"  # the console script; `python -m ar_core` is the same
STOPPED = 130  # exit code after Ctrl-C and SIGTERM, as shells have it
OUT_OF_MEMORY = (
    "The device ran out of memory. Draw fewer or smaller pictures at a time (--n, --size), train fewer pairs at a time "
    "(--micro-batch), or choose another --precision or --device cpu."
)

LOST = "The work is done, and not all of what was printed could be written ({reason}). Print it somewhere else."


@dataclass(frozen=True)
class Command:
    """One line of the table: what the command is called, its line in --help, its options and what it does."""

    name: str
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


COMMANDS = (
    Command("personalize", "learn one subject from 3-5 photos", personalize.add_options, personalize.run),
    Command("sample", "generate images", sample.add_options, sample.run),
    Command(
        "info",
        "describe a model or a personalization; --recipe paper lists the paper's values",
        info.add_options,
        info.run,
    ),
    Command("demo", "the whole job on the miniature; leaves pictures", demo.add_options, demo.run),
    Command(
        "score",
        "score pictures as DreamBench does: DINO, CLIP-I, CLIP-T",
        score.add_options,
        score.run,
    ),
    Command(
        "dreambench",
        "train, sample and score every DreamBench subject; can be stopped and goes on",
        dreambench.add_options,
        dreambench.run,
    ),
    Command("forget", "delete the remembered trainings in a _runs folder", forget.add_options, forget.run),
)


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run one command; returns its exit code.

    `arguments`: those of the process where None. An error that the user can mend is printed as one sentence, exit code
    1; so is that not all of the output could be written, once the work is done. Ctrl-C and SIGTERM save what there is,
    exit code 130.
    """
    with forgiving_console() as printed, keyboard_interrupts():
        try:
            options = parse(program, sys.argv[1:] if arguments is None else arguments)
        except ValueError as error:  # a file of settings, or its name
            print(f"error: {sentence(error)}", file=sys.stderr)
            return 1
        if options.verbose:
            show_log()
        code = run_command(options)
        printed.flush()
        if printed.full and code == 0:
            print(f"error: {LOST.format(reason=printed.full)}", file=sys.stderr)
            return 1
    return code


def run_command(options: argparse.Namespace) -> int:
    """Run the chosen command; returns its exit code, and prints why it is not 0."""
    try:
        options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 1
    except Cancelled as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED
    return 0


def sentence(error: Exception) -> str:
    """What to say of an error: its own words, unless they are the system's or torch's, which help nobody."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return (
            f"{quoted(error.filename)} cannot be used ({error.strerror}). Check the name, and your permissions there."
        )
    return str(error)


def parse(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the chosen command, from what was typed and the file of settings that it may name."""
    root = parser(program)
    command = root.commands.get(arguments[0]) if arguments else None
    if command is not None:
        arguments = [arguments[0], *with_settings(command, arguments[1:])]
    return root.parse_args(arguments)


class Parser(PathParser):
    """The parser of all commands, with those of each in `commands`."""

    commands: dict[str, PathParser]


def parser(program: str = PROGRAM) -> Parser:
    """The parser of all commands; the parsed options carry the chosen command's `run`."""
    root = Parser(
        prog=program,
        description="Teach an auto-regressive image model (Lumina-mGPT, Janus-Pro) one subject, and draw it.",
    )
    commands = root.add_subparsers(required=True, metavar="command", parser_class=PathParser)
    root.commands = commands.choices
    for command in COMMANDS:
        options = commands.add_parser(command.name, help=command.help, description=command.help)
        command.add_options(options)
        options.add_argument("--verbose", action="store_true", help="also print the engine's log, to standard error")
        options.set_defaults(run=command.run)
    return root


def show_log() -> None:
    """Print the log of this package alone; the root logger stays as it is."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger(__package__)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
