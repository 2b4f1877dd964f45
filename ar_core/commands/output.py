"""Where a command writes its file: what `--out` means, and whether it can be written, tried before hours of work."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import UnwritableFile, atomic_write, ensure_folder, write_numbered
from ..personalization import with_suffix
from ..styles import STYLE_WORD
from ..text import check_class_name

EMPTY = "it is empty, which is no name of a file or a folder; write . for the folder that you are in"
SEPARATORS = tuple(separator for separator in (os.sep, os.altsep) if separator)


class PathParser(argparse.ArgumentParser):
    """Its options of the type Path take no empty text: pathlib would read that as the folder that one is in.

    Options are written out: what is cut short today may mean two options tomorrow.
    """

    def __init__(self, **options: Any):
        super().__init__(**{"allow_abbrev": False, **options})

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        if options.get("type") is Path:
            options["type"] = named_path
        return super().add_argument(*names, **options)


def named_path(text: str) -> Path:
    """The path of that name. Raises ArgumentTypeError where there is none."""
    if not text:
        raise argparse.ArgumentTypeError(EMPTY)
    return Path(text)


class FileOrFolder(argparse.Action):
    """Stores a Path, and as `<option>_is_folder` whether it ended as a folder's does ("new/"), which Path drops."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if not values:
            raise argparse.ArgumentError(self, EMPTY)
        setattr(namespace, self.dest, Path(str(values)))
        setattr(namespace, f"{self.dest}_is_folder", str(values).endswith(SEPARATORS))


def subject_file(out: Path, is_folder: bool, class_name: str) -> Path:
    """The file that `--out` means: in a folder, there or to be made, one that is called like the class.

    `is_folder`: whether it was written as one. Raises TextError for a class name that cannot be one.
    """
    if is_folder or os.path.isdir(out):
        word = check_class_name(class_name, style=True) or STYLE_WORD
        out = out / (re.sub(r"[^\w]+", "_", word).strip("_") or "subject")
    return with_suffix(out)


def try_writing(path: Path) -> None:
    """Make the folder of `path`, and a file in it of that name, or of its next number, which is taken away at once.

    Raises UnwritableFile where that cannot be done.
    """
    ensure_folder(path.parent)
    try:
        tried = write_numbered(path, write_nothing)
    except UnwritableFile as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise UnwritableFile(f"{path} cannot be written ({reason}). Choose another name, or another folder.") from error
    tried.unlink()


def write_nothing(path: Path) -> None:
    """Make an empty file. Raises FileExistsError, UnwritableFile."""
    with atomic_write(path, replace=False):
        pass
