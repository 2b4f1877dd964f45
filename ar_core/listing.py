"""Which files a folder holds, links followed, and read again only when a folder has changed.

A host asks for its lists again and again; a folder may hold tens of thousands of files, and files may lie behind links
and on slow shares. So folders are read, files never, and of what was read before only the folders' times.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePath

DEEPEST = 12  # folders below one another, at most
UNSETTLED = 2.0  # seconds in which a folder may change once more without another time of change


@dataclass(frozen=True)
class Listing:
    """What a folder held: paths of files below it, with slashes; and when each folder was changed."""

    files: tuple[str, ...]
    changed: dict[str, int]  # nanoseconds, by folder; 0 for what cannot be read or is not there yet
    read: float  # seconds

    def is_current(self) -> bool:
        """Whether nothing was added, removed or renamed since."""
        newest = max(self.changed.values(), default=0) / 1e9
        if self.read - newest < UNSETTLED:
            return False
        return all(_changed(folder) == when for folder, when in self.changed.items())


_LISTINGS: dict[Path, Listing] = {}


def files_below(base: Path) -> tuple[str, ...]:
    """Every file below `base`, sorted, relative to it; nothing hidden. Empty where there is no such folder."""
    known = _LISTINGS.get(base)
    if known is None or not known.is_current():
        known = _LISTINGS[base] = _read(base)
    return known.files


def _read(base: Path) -> Listing:
    found: list[str] = []
    changed: dict[str, int] = {}
    began = time.time()
    _walk(str(base), "", (), found, changed)
    return Listing(tuple(sorted(found)), changed, began)


def _walk(folder: str, prefix: str, above: tuple[str, ...], found: list[str], changed: dict[str, int]) -> None:
    """Add what is in `folder`. `above`: the folders on the way to it, where links may lead back to."""
    real = os.path.realpath(folder)
    if real in above or len(above) >= DEEPEST:
        return
    changed[folder] = _changed(folder)
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return  # it has gone, or is not ours to read
    for entry in shown:
        try:
            is_folder = entry.is_dir()
            is_file = not is_folder and (not entry.is_symlink() or entry.is_file())
        except OSError:
            continue
        if is_folder:
            _walk(entry.path, f"{prefix}{entry.name}/", (*above, real), found, changed)
        elif is_file:
            found.append(prefix + entry.name)
        else:
            changed[entry.path] = _changed(entry.path)  # a link to what may come: a drive, a share


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns if os.access(folder, os.R_OK) else 0
    except OSError:
        return 0


def named_inside(base: Path, name: str) -> Path | None:
    """What is called `name` below `base`; None where nothing is, or the name leads out of it.

    The name is what counts: links that somebody put there may lead anywhere.
    """
    path = PurePath(name)
    if not path.parts or leads_out(path) or "\0" in name:
        return None
    found = base / path
    if not os.path.exists(found):  # which is also false for a name that no system takes
        return None
    return found


def leads_out(path: PurePath) -> bool:
    """Whether `path`, joined to a folder, may be somewhere else.

    On Windows a path may begin at a drive's root ("\\Users"), or on another drive ("C:x"), and be not absolute.
    """
    return bool(path.anchor) or ".." in path.parts
