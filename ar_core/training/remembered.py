"""All remembered trainings below one folder: what they are and how large, moving them, and deleting them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout  # torch brings it

from .runs import LOCKS, taken_lock

RUN_FILE = "run.json"  # in every run's folder, see runs.py

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
    runs = [_read(path.parent) for path in Path(root).glob(f"*/{RUN_FILE}")]
    return sorted(runs, key=lambda run: run.used, reverse=True)


def remembered_names(root: Path) -> list[str]:
    """The names of all runs below `root`, the newest first, of which only the times of run.json are looked at."""
    times = {}
    for path in Path(root).glob(f"*/{RUN_FILE}"):
        with suppress(OSError):
            times[path.parent.name] = path.stat().st_mtime
    return sorted(times, key=lambda name: times[name], reverse=True)


def _read(folder: Path) -> RememberedRun:
    states = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a training that is writing renames its files
            if path.is_file():
                states.append(path.stat())
    fields = _fields(folder / RUN_FILE)
    steps = [int(path.stem) for path in (folder / "steps").glob("[0-9]*.safetensors") if path.stem.isdigit()]
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
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def forget_runs(root: Path) -> int:
    """Delete every remembered training below `root` (and nothing else); returns how many there were.

    Raises RunInUse before anything is deleted where a process works on one of them.
    """
    runs = remembered_runs(root)
    for run in runs:
        with unused(run):
            pass
    for run in runs:
        forget_run(run)
    return len(runs)


def forget_run(run: RememberedRun) -> None:
    """Delete one remembered training. Raises RunInUse where a process works on it."""
    with unused(run) as lock:
        shutil.rmtree(run.folder)
        if lock is not None:
            with suppress(OSError):  # Windows keeps a file that is open
                Path(lock.lock_file).unlink()
                Path(lock.lock_file).parent.rmdir()  # where it was the last
    log.info("Deleted the remembered training %s", run.folder)


@contextmanager
def unused(run: RememberedRun) -> Iterator[FileLock | None]:
    """Its lock, while this lasts; None where the file system has none. Raises RunInUse."""
    try:
        lock = taken_lock(run.folder)
    except Timeout as error:
        raise RunInUse(
            f"{run.folder} is being trained by another process. Stop it first, or wait until it ends."
        ) from error
    try:
        yield lock
    finally:
        if lock is not None:
            lock.release()


def adopt_runs(earlier: Path, root: Path) -> None:
    """Move the runs of `earlier`, where they were once kept, to `root`.

    What cannot be moved stays where it is, and is trained again when it is asked for.
    """
    for path in sorted(Path(earlier).glob(f"*/{RUN_FILE}")):
        place = Path(root) / path.parent.name
        if place.exists():
            continue
        try:
            Path(root).mkdir(parents=True, exist_ok=True)
            _move(path.parent, place)
        except OSError as error:
            log.warning("The remembered training %s could not be moved to %s: %s", path.parent, root, error)
        else:
            log.info("Moved the remembered training %s to %s", path.parent, place)
    if not remembered_names(earlier):
        shutil.rmtree(Path(earlier) / LOCKS, ignore_errors=True)
    with suppress(OSError):
        Path(earlier).rmdir()  # if it is empty


def _move(folder: Path, place: Path) -> None:
    """Also to another file system, and from one that can only be read, where the original stays."""
    try:
        os.rename(folder, place)
    except OSError:
        copied = place.with_name(f".{place.name}.moving")
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(folder, copied)
        os.rename(copied, place)
        shutil.rmtree(folder, ignore_errors=True)
