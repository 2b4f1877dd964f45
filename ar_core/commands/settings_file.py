"""A command's options in a file: JSON or TOML whose keys are the options, written by a run and read by the next.

    {"recipe": "artist", "cfg": 3.0, "strategies": ["two_stage", "joint"]}        -> --settings FILE

What the file says stands before what is typed, which therefore wins.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import read_text
from ..quoting import quoted

OPTION = "--settings"


class SettingsError(ValueError):
    """A file of settings that cannot be used; the message names the file and the setting."""


def settings_option(command: argparse.ArgumentParser) -> None:
    """Where the file is."""
    command.add_argument(
        OPTION,
        type=Path,
        metavar="FILE",
        help="options of this command from a .json or .toml file, such as the settings.json that a run leaves; what is "
        "typed as well wins",
    )


def with_settings(command: argparse.ArgumentParser, typed: Sequence[str]) -> list[str]:
    """What was typed after a command's name, behind what the file says that it names, if any. Raises SettingsError."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument(OPTION)
    try:
        path = finder.parse_known_args(list(typed))[0].settings
    except argparse.ArgumentError:  # no file was named: the command's own parser says so
        path = None
    if path is None or OPTION not in options_of(command):
        return list(typed)
    return [*_arguments(command, Path(path)), *typed]


def options_of(command: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    """Every option of a command, as it is typed."""
    return command._option_string_actions


def _arguments(command: argparse.ArgumentParser, path: Path) -> list[str]:
    """The file's settings as somebody would type them, each tried alone."""
    arguments = []
    for key, value in _read(path).items():
        option = f"--{key.replace('_', '-')}"
        action = options_of(command).get(option)
        if action is None or option in (OPTION, "--help"):
            raise SettingsError(f"{path}: there is no setting {quoted(key)}. `{command.prog} --help` lists them.")
        words = _typed(option, action, value)
        _try(action, words, path)
        arguments += words
    return arguments


def _read(path: Path) -> Mapping[str, Any]:
    text = read_text(path)
    try:
        found = _reader(path)(text)
    except ImportError as error:
        raise SettingsError(f"{path}: TOML needs Python 3.11 or later. Write the settings as JSON.") from error
    except (ValueError, RecursionError) as error:  # both formats' errors are the first
        raise SettingsError(f"{path} cannot be read as settings ({error}).") from error
    if not isinstance(found, Mapping):
        raise SettingsError(f'{path} should hold settings by name, such as {{"cfg": 3.0}}.')
    return found


def _reader(path: Path) -> Callable[[str], Any]:
    """By the file's suffix. Raises ImportError on Python 3.10, which knows no TOML."""
    if path.suffix.lower() == ".toml":
        return importlib.import_module("tomllib").loads
    return json.loads


def _typed(option: str, action: argparse.Action, value: Any) -> list[str]:
    """A setting as it would be typed; nothing for null, and for a switch that is off."""
    if value is None:
        return []
    if isinstance(value, bool) and action.nargs == 0:
        if value:
            return [option]
        return [off for off in action.option_strings if off == f"--no-{option[2:]}"]
    if isinstance(value, list):
        if action.nargs in ("+", "*"):
            return [option, *map(str, value)]
        value = ",".join(map(str, value))
    return [f"{option}={value}"]


def _try(action: argparse.Action, words: Sequence[str], path: Path) -> None:
    """Raise SettingsError, with the file's name, where the option does not take these words."""
    alone = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    alone._add_action(action)
    was_required = action.required
    action.required = False
    try:
        alone.parse_args(list(words))
    except argparse.ArgumentError as error:
        raise SettingsError(f"{path}: {error}.") from error
    finally:
        action.required = was_required


def settings_of(options: argparse.Namespace, without: Collection[str]) -> dict[str, Any]:
    """What a command was asked for, as a file holds it that repeats it; `without` the options of those names.

    Paths stay as they were typed.
    """
    found = {}
    for name, value in vars(options).items():
        if name not in without and value is not None:
            found[name] = _written(value)
    return found


def _written(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):  # a size
        return "x".join(map(str, value))
    return value
