"""All remembered trainings below one folder: what they are and how large, moving them, and deleting them."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout  # torch brings it

from ..files import ABANDONED_AFTER, UnreadableFile, read_json
from .own_folders import half_copies, own_folders
from .runs import LOCKS, README_FILE, RUN_FILE, STEPS, taken_lock

log = logging.getLogger(__name__)


class RunInUse(RuntimeError):
    """A remembered training that a process works on; the message names it."""


@dataclass(frozen=True)
class RememberedRun:
    """One run's folder. `name` is the folder's; `stage` and `class_name` are "" where it holds codes of photos."""

    folder: Path
    class_name: str
    stage: str
    step: int  # the newest that was kept
    size: int  # bytes
    used: float  # seconds since the epoch: when it was last written

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def days(self) -> float:
        """How long ago it was last written."""
        return (time.time() - self.used) / 86400


def remembered_runs(root: Path) -> list[RememberedRun]:
    """Every run below `root`, the newest first."""
    runs = [_read(folder) for folder in own_folders(root)]
    return sorted(runs, key=lambda run: run.used, reverse=True)


def remembered_names(root: Path) -> list[str]:
    """The names of all runs below `root`, the newest first, by the time of run.json alone."""
    times = {}
    for folder in own_folders(root):
        times[folder.name] = 0.0
        with suppress(OSError):
            times[folder.name] = (folder / RUN_FILE).stat().st_mtime
    return sorted(times, key=lambda name: times[name], reverse=True)


def _read(folder: Path) -> RememberedRun:
    states = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a training that is writing renames its files
            if path.is_file():
                states.append(path.stat())
    fields = _fields(folder / RUN_FILE)
    steps = [int(path.stem) for path in (folder / STEPS).glob("[0-9]*.safetensors") if path.stem.isdecimal()]
    return RememberedRun(
        folder,
        str(fields.get("class", "")),
        str(fields.get("stage", "")),
        max(steps, default=0),
        sum(state.st_size for state in states),
        max((state.st_mtime for state in states), default=0.0),
    )


def _fields(path: Path) -> dict[str, Any]:
    """What run.json says; nothing where it is damaged, which must not hide the run from who wants to delete it."""
    try:
        fields = read_json(path)
    except UnreadableFile:
        return {}
    return fields if isinstance(fields, dict) else {}


def forget_runs(root: Path, runs: Sequence[RememberedRun] | None = None) -> int:
    """Delete `runs`, or every remembered training below `root`, and all half copies; returns how many there were.

    Raises RunInUse before anything is deleted where a process works on one of them.
    """
    if runs is None:
        runs = remembered_runs(root)
    for run in runs:
        with unused(run.folder):
            pass
    for run in runs:
        forget_run(run)
    _remove_half_copies(root)
    return len(runs)


def forget_run(run: RememberedRun) -> None:
    """Delete one remembered training. Raises RunInUse where a process works on it."""
    with unused(run.folder) as lock:
        _delete(run.folder)
        _remove_half_copies(run.folder.parent, run.name)
        if lock is not None:
            with suppress(OSError):  # Windows keeps a file that is open
                Path(lock.lock_file).unlink()
                Path(lock.lock_file).parent.rmdir()  # where it was the last
    log.info("Deleted the remembered training %s", run.folder)


@contextmanager
def unused(folder: Path) -> Iterator[FileLock | None]:
    """The lock of a run's folder, while this lasts; None where the file system has none. Raises RunInUse."""
    try:
        lock = taken_lock(folder)
    except Timeout as error:
        raise RunInUse(
            f"{folder} is being trained by another process. Stop it first, or wait until it ends."
        ) from error
    try:
        yield lock
    finally:
        if lock is not None:
            lock.release()


def adopt_runs(earlier: Path, root: Path) -> None:
    """Move the runs of `earlier`, where they were once kept, to `root`.

    What cannot be moved, or is used, stays where it is, and is trained again when it is asked for.
    """
    _remove_half_copies(root, age=ABANDONED_AFTER)
    for folder in own_folders(earlier):
        place = Path(root) / folder.name
        if place.exists():
            continue
        try:
            Path(root).mkdir(parents=True, exist_ok=True)
            with unused(folder):
                _move(folder, place)
        except (OSError, RunInUse) as error:
            log.warning("The remembered training %s could not be moved to %s: %s", folder, root, error)
        else:
            log.info("Moved the remembered training %s to %s", folder, place)
    if not remembered_names(earlier):
        shutil.rmtree(Path(earlier) / LOCKS, ignore_errors=True)
    with suppress(OSError):
        Path(earlier).rmdir()  # if it is empty


def _move(folder: Path, place: Path) -> None:
    """Also to another file system, and from one that can only be read, where the original stays."""
    try:
        os.rename(folder, place)
    except OSError:
        copied = place.with_name(f".{place.name}.{secrets.token_hex(4)}.moving")
        try:
            shutil.copytree(folder, copied)
            os.rename(copied, place)
        except BaseException:
            shutil.rmtree(copied, ignore_errors=True)
            raise
        with suppress(OSError):
            _delete(folder)


def _delete(folder: Path) -> None:
    """Delete a run's folder; what proves it to be one last: where this is ended midway, the rest is still found.

    Raises OSError.
    """
    proofs = (README_FILE, RUN_FILE)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in proofs:
            path.unlink()
    for name in proofs:
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def _remove_half_copies(root: Path, run: str | None = None, age: float = 0.0) -> None:
    """Delete what was copied below `root` of a run before the copying process was killed.

    `run`: a folder's name, None for all. `age`: seconds in which nothing was written to it; 0 where the user wants it
    gone.
    """
    for copied in half_copies(root, run):
        if time.time() - _last_written(copied) >= age:
            shutil.rmtree(copied, ignore_errors=True)
            log.info("Deleted %s, a copy that was never finished", copied)


def _last_written(folder: Path) -> float:
    """Seconds since the epoch. Copied files have the times of their originals, but for that of the last change."""
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            state = path.lstat()
            newest = max(newest, state.st_mtime, state.st_ctime)
    return newest
