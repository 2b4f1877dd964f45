"""Options of commands that are made from a settings class: one for every field, explained by the field itself.

    cfg: float = field(metadata={"help": "how strictly the prompt is followed"})      ->  --cfg NUMBER

A field may also carry "choices", the values that it takes, and "default", a word for --help. A setting that is not
given is left to the class's `resolve`: the default of its parameter of that name, else the value of the model family's
recipe.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_type_hints

from ..families.protocol import Size
from ..quoting import quoted
from ..sampling import SamplingSettings
from ..training import TrainingSettings

DIGITS = 6  # of a side in pixels

Settings = type[TrainingSettings] | type[SamplingSettings]


def image_size(text: str) -> Size:
    """ "768x512" -> (768, 512): width, height in pixels."""
    width, cross, height = text.lower().partition("x")
    sides = [side for side in (width, height) if side.isascii() and side.isdigit() and len(side) <= DIGITS]
    if not cross or len(sides) != 2 or "0" in [side.strip("0") or "0" for side in sides]:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a size; write WIDTHxHEIGHT, for example 768x768")
    return int(width), int(height)


# By the field's type; a bool is a switch instead. What is a list of lines is read from a file, by the command.
READERS: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    Size: image_size,
    tuple[str, ...]: Path,
}
SHOWN: dict[Any, str] = {  # the value in --help
    int: "N",
    float: "NUMBER",
    str: "TEXT",
    Size: "WIDTHxHEIGHT",
    tuple[str, ...]: "FILE",
}


def add_settings(command: argparse.ArgumentParser, settings: Settings, without: Collection[str] = ()) -> None:
    """Add an option for every field of `settings` but those `without`; one that is not given is None after parsing."""
    types = get_type_hints(settings)
    parameters = inspect.signature(settings.resolve).parameters
    for field in fields(settings):
        if field.name in without:
            continue
        default = None
        if field.name in parameters:
            default = parameters[field.name].default
        add_setting(command, field, types[field.name], default)


def add_setting(command: argparse.ArgumentParser, field: Field, kind: Any, default: object) -> None:
    """Add the option of one field; `default` None means the recipe's value."""
    flag = "--" + field.name.replace("_", "-")
    if default is None:
        default = field.metadata.get("default", "the recipe's")
    explained = f"{field.metadata['help']} (default: {default})".replace("%", "%%")
    if kind is bool:
        command.add_argument(flag, action=argparse.BooleanOptionalAction, help=explained)
        return
    choices = field.metadata.get("choices")
    if choices is None:
        command.add_argument(flag, type=READERS[kind], metavar=SHOWN[kind], help=explained)
    else:
        command.add_argument(flag, type=READERS[kind], choices=tuple(choices), help=explained)


def chosen_settings(options: argparse.Namespace, settings: Settings, without: Collection[str] = ()) -> dict[str, Any]:
    """The settings that were given on the command line, for `settings.resolve`."""
    chosen = {}
    for field in fields(settings):
        if field.name in without:
            continue
        value = getattr(options, field.name)
        if value is not None:
            chosen[field.name] = value
    return chosen
