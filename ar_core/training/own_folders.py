"""Which folders are remembered trainings: only what is proved to be one of ours is listed, moved or deleted.

Other programs write a run.json too, and a folder with somebody's thesis in it may lie beside ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..files import TEMPORARY, UnreadableFile, json_hash, read_json, read_text
from .runs import README, README_FILE, RUN_FILE, STEPS, lock_file

NAME = re.compile(r".*-(?P<key>[0-9a-f]{16})")  # as Run names its folder
COPY = re.compile(r"\.(?P<name>.*-[0-9a-f]{16})\.[0-9a-f]{8}\.moving")  # of a run, while it is moved
BEGINNING = README.partition("\n")[0]  # the same since the first version


def own_folders(root: Path) -> list[Path]:
    """The remembered trainings below `root`, those that a kill left half-written among them."""
    return sorted(folder for folder in _folders(root) if is_own(folder))


def foreign_folders(root: Path) -> list[Path]:
    """Folders below `root` that are not ours and have a run.json, as somebody might take them for ours."""
    others = (folder for folder in _folders(root) if not is_own(folder))
    return sorted(folder for folder in others if os.path.exists(folder / RUN_FILE))


def half_copies(root: Path, run: str | None = None) -> list[Path]:
    """Copies below `root` that were never finished: of the run of that name, or of any."""
    found = []
    for folder in _folders(root, hidden=True):
        match = COPY.fullmatch(folder.name)
        if match is not None and run in (None, match["name"]):
            found.append(folder)
    return found


def is_own(folder: Path) -> bool:
    """Whether `folder` has a run's name and, as proof, what only a run has.

    That is a run.json that gives this name, our READ ME.txt, or our lock for that name, where both are damaged; or,
    before any was written, nothing of anybody's.
    """
    match = NAME.fullmatch(folder.name)
    if match is None:
        return False
    return (
        _gives_key(folder / RUN_FILE, match["key"])
        or _begins_as_ours(folder / README_FILE)
        or os.path.exists(lock_file(folder))
        or _is_just_begun(folder)
    )


def _gives_key(path: Path, key: str) -> bool:
    try:
        return json_hash(read_json(path))[:16] == key
    except (UnreadableFile, ValueError):  # half a letter cannot be hashed
        return False


def _begins_as_ours(path: Path) -> bool:
    try:
        return read_text(path).startswith(BEGINNING)
    except UnreadableFile:
        return False


def _is_just_begun(folder: Path) -> bool:
    """Whether it holds nothing but an empty folder for steps, and what a killed process of ours had begun to write."""
    try:
        for path in folder.iterdir():
            empty = path.name == STEPS and path.is_dir() and not any(path.iterdir())
            if not empty and not TEMPORARY.fullmatch(path.name):
                return False
    except OSError:
        return False
    return True


def _folders(root: Path, hidden: bool = False) -> Iterable[Path]:
    try:
        return [path for path in Path(root).iterdir() if path.name.startswith(".") == hidden and os.path.isdir(path)]
    except OSError:  # it is not there, or not ours to read: a host's list of nodes must not fail for it
        return []
