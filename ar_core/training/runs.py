"""Training is remembered: a folder per run, named by what determines it.

<root>/<class>-<stage>-<key>/
    run.json                 what determines the run, readable
    READ ME.txt              what this folder is and how to delete it
    steps/000050.safetensors what was learned by step 50 (kept)
    state.safetensors        newest state with optimizer: training goes on from here
    state.previous.safetensors
    state.earlier.safetensors where training went back to, because a step before the newest was asked for
    codes.safetensors        codes of the photos and their views (in the run called "photos")
    sample-000050.safetensors codes of the picture drawn at a kept step; -<hash> for other prompts than our own
    prior.safetensors        codes of class images (in the run called "class pictures")
    choice-*                 pictures of kept steps and what was measured of them (best_step.py)
    frozen-distribution.safetensors what the frozen model expects at each of these codes (there, too)
    *.damaged                what was damaged and was made again
    *-unfinished.safetensors codes made so far, where reading photos or drawing class images was stopped
<root>/.locks/               a file per run, locked by the process that works on it
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout  # torch brings it
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from ..families.protocol import Size
from ..files import (
    MissingFile,
    TensorFile,
    UnavailableFile,
    UnreadableFile,
    ensure_folder,
    free_path,
    json_hash,
    json_text,
    prefixed,
    read_tensors,
    read_text,
    remove_abandoned,
    write_tensors,
    write_text,
)
from ..model import ARModel

README = """This folder remembers the training of one subject, so that no step is ever repeated.
It holds learned weights, and codes from which the training photos can be decoded: treat it like the photos.
This deletes it, with all other remembered trainings in the folder above it:
    python -m ar_core forget "{root}"
"""
# Names that versions before `files.atomic_write` gave to what they were writing, and the safetensors library gives.
EARLIER_TEMPORARY = ("state.partial", "*.writing", ".tmp*")
RUN_FILE = "run.json"  # in every run's folder
README_FILE = "READ ME.txt"
STEPS = "steps"  # the folder of kept results
LOCKS = ".locks"
PASSES = "passes"  # a key of a state's metadata
WAIT = 0.5  # seconds between two looks at a lock
SAVE_SECONDS = 60.0  # between two savings of what is collected

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class State:
    """A training at one step. `file`: where it was read from; None where it was not."""

    step: int
    trainable: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    losses: list[float]
    file: Path | None = None
    passes: str = ""  # how the pairs went through the model, see passes.py


@dataclass(frozen=True)
class Grid:
    """What codes of pictures must be: (any number, rows, columns), each from 0 to `codes` - 1."""

    rows: int
    columns: int
    codes: int

    def holds(self, value: Tensor) -> bool:
        """Whether these are such codes."""
        if value.dtype.is_floating_point or value.ndim != 3 or tuple(value.shape[1:]) != (self.rows, self.columns):
            return False
        return len(value) > 0 and int(value.min()) >= 0 and int(value.max()) < self.codes


def grid_of(model: ARModel, size: Size) -> Grid:
    """What codes of pictures of `size` must be."""
    return Grid(*model.protocol.grid(size), model.protocol.codes)


class Run:
    """One run's folder below `root`; `fields` are what determines it (not steps, names or previews).

    What is in it and is damaged is set aside, and counts as not there. Whatever reads raises UnavailableFile where a
    disk or a share does not answer now: what is there may be whole.
    """

    def __init__(self, root: Path, label: str, fields: Mapping[str, object]):
        """`label`: readable words before the key, such as the class and the stage."""
        label = re.sub(r"[^\w]+", "-", label).strip("-")[:40]
        self.root = Path(root)
        self.folder = self.root / f"{label}-{json_hash(fields)[:16]}"
        self.fields = fields
        self._newest = self.folder / "state.safetensors"
        self._previous = self.folder / "state.previous.safetensors"
        self._earlier = self.folder / "state.earlier.safetensors"

    @contextmanager
    def locked(self, progress: Progress = silent, cancel: Cancel = never) -> Iterator[None]:
        """While this lasts, no other process works on this run; one that does is waited for. Raises Cancelled.

        The system takes the lock from a process that ends, however it ends.
        """
        waiting = False
        while True:
            try:
                lock = taken_lock(self.folder)
                break
            except Timeout:
                if not waiting:
                    log.warning("Another process works on %s: waiting until it has finished", self.folder)
                    waiting = True
                progress(0, 1, "waiting for another process that trains the same")
                stop_if(cancel)
                time.sleep(WAIT)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def open(self) -> None:
        """Create the folder where it is missing, and note that it is used. Only while `locked`."""
        ensure_folder(self.folder / STEPS)
        self.note_use()
        texts = {
            README_FILE: README.format(root=self.root),
            RUN_FILE: json_text(self.fields, indent=1, sort_keys=True),
        }
        for name, text in texts.items():
            path = self.folder / name
            if not _holds(path, text):
                write_text(path, text)

    def note_use(self) -> None:
        """Note that it is used today (see remembered.py), and remove what a killed process left. Only while `locked`.

        What is remembered can be used where nothing can be written.
        """
        with suppress(OSError):
            for folder in (self.folder, self.folder / STEPS):
                remove_abandoned(folder, *EARLIER_TEMPORARY, age=0)
            os.utime(self.folder / RUN_FILE)

    def exists(self) -> bool:
        """Whether anything is remembered of it."""
        return (self.folder / RUN_FILE).exists()

    def kept(self) -> list[int]:
        """Steps whose result was kept, in order."""
        steps = []
        for name in _names_in(self.folder / STEPS):
            path = self.folder / STEPS / name
            if path.suffix == ".safetensors" and path.stem.isdecimal() and self._read(path, only=()) is not None:
                steps.append(int(path.stem))
        return sorted(steps)

    def result(self, step: int, expected: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """What was learned by a kept step, in the shapes that are `expected`; None where it cannot be read."""
        path = self._kept_path(step)
        file = self._read(path)
        if file is None:
            return None
        if shapes(file.tensors) != shapes(expected):
            self.set_aside(path, f"{path} does not hold what this training learns.")
            return None
        return file.tensors

    def keep(self, step: int, trainable: Mapping[str, Tensor]) -> None:
        """Keep what was learned by this step."""
        write_tensors(self._kept_path(step), trainable, {})

    def _kept_path(self, step: int) -> Path:
        return self.folder / STEPS / f"{step:06d}.safetensors"

    def save(self, state: State, beside_newest: bool = False) -> None:
        """Make `state` the one to go on from; the one before stays as a reserve.

        `beside_newest`: it is of a step before the newest, which stays, as its reserve does.
        """
        tensors = prefixed("trainable.", state.trainable) | prefixed("optimizer.", state.optimizer)
        tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64, device="cpu")
        metadata = {"step": str(state.step), PASSES: state.passes}
        if beside_newest:
            write_tensors(self._earlier, tensors, metadata)
        else:
            write_tensors(self._newest, tensors, metadata, reserve=self._previous)

    def states(self, most: int) -> Iterator[State]:
        """The states of at most `most` steps that can be read, the furthest first.

        Those that are further are not read as a whole, and stay what they are.
        """
        steps = {path: _step(head) for path, head in self._heads()}
        near = {path: step for path, step in steps.items() if step is not None and step <= most}
        for path in sorted(near, key=lambda path: near[path], reverse=True):
            file = self._read(path)
            if file is None:
                continue
            passes = file.metadata.get(PASSES, "")
            yield State(near[path], file.part("trainable."), file.part("optimizer."), _losses(file), path, passes)

    def is_beyond(self, steps: int) -> bool:
        """Whether a readable state has more steps than these."""
        return any((_step(head) or 0) > steps for _, head in self._heads())

    def latest_passes(self) -> str:
        """How the pairs of the newest readable state's steps went through the model; "" where nothing says so."""
        file = self._head()
        if file is None:
            return ""
        return file.metadata.get(PASSES, "")

    def losses(self) -> list[float]:
        """The losses of all steps up to the newest readable state."""
        file = self._head()
        if file is None:
            return []
        return _losses(file)

    def _head(self) -> TensorFile | None:
        """Step and losses of the newest readable state."""
        return next((head for _, head in self._heads()), None)

    def _heads(self) -> Iterator[tuple[Path, TensorFile]]:
        """Steps and losses of the readable states, the newest first; what is none is set aside."""
        for path in (self._newest, self._previous, self._earlier):
            file = self._read(path, only=("losses",))
            if file is None:
                continue
            if _step(file) is None or "losses" not in file.tensors:
                self.set_aside(path, f"{path} is no state of a training.")
                continue
            yield path, file

    def held_bytes(self) -> int:
        """What lies on the disk of its states and kept results."""
        found = 0
        for path in self.folder.rglob("*.safetensors"):
            with suppress(OSError):
                found += path.stat().st_size
        return found

    def remembered(self, name: str, grid: Grid) -> Tensor | None:
        """Codes kept with the states, such as the photos'; None where they are missing or cannot be read."""
        path = self.folder / f"{name}.safetensors"
        file = self._read(path)
        if file is None:
            return None
        if name not in file.tensors or not grid.holds(file.tensors[name]):
            self.set_aside(path, f"{path} does not hold {name} of {grid.rows} x {grid.columns} codes.")
            return None
        return file.tensors[name]

    def remember(self, name: str, value: Tensor) -> None:
        """Keep codes with the states under this name."""
        write_tensors(self.folder / f"{name}.safetensors", {name: value}, {})

    def kept_tensors(self, name: str, fits: Callable[[Mapping[str, Tensor]], bool]) -> dict[str, Tensor] | None:
        """What `keep_tensors` keeps under this name; None where it is missing, cannot be read or is not what `fits`."""
        path = self.folder / f"{name}.safetensors"
        file = self._read(path)
        if file is None:
            return None
        if not fits(file.tensors):
            self.set_aside(path, f"{path} does not hold what is expected there.")
            return None
        return file.tensors

    def keep_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors that are no codes of pictures under this name."""
        write_tensors(self.folder / f"{name}.safetensors", tensors, {})

    def holds(self, name: str) -> bool:
        """Whether anything is kept under this name."""
        return (self.folder / f"{name}.safetensors").exists()

    def drop(self, name: str) -> None:
        """Delete what `remember` keeps under this name, where there is any."""
        (self.folder / f"{name}.safetensors").unlink(missing_ok=True)

    def set_aside(self, path: Path, reason: str) -> None:
        """Give a file another name, so that it is in nobody's way and can be looked at."""
        damaged = free_path(path.with_name(path.name + ".damaged"))
        try:
            path.replace(damaged)
        except OSError as error:
            log.warning("%s It could not be set aside (%s).", reason, error)
        else:
            log.warning("%s It was set aside as %s and is made again.", reason, damaged.name)

    def _read(self, path: Path, only: tuple[str, ...] | None = None) -> TensorFile | None:
        """None where there is none, or it was set aside.

        Raises UnavailableFile where the system does not let it be read: it may be whole, and stays where it is.
        """
        try:
            return read_tensors(path, only)
        except MissingFile:
            return None
        except UnreadableFile as error:
            self.set_aside(path, str(error))
            return None


def taken_lock(folder: Path) -> FileLock | None:
    """The lock of a run's folder; None on a file system that has none. Raises Timeout where a process holds it."""
    path = lock_file(folder)
    lock = FileLock(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise
    except (NotImplementedError, OSError) as error:
        log.warning("%s cannot be locked (%s): let no other process train the same", folder, error)
        return None
    return lock


def lock_file(folder: Path) -> Path:
    """Where the lock of a run's folder lies."""
    return folder.parent / LOCKS / f"{folder.name}.lock"


def _names_in(folder: Path) -> list[str]:
    """None where there is no such folder. Raises UnavailableFile: a glob would pass over what cannot be listed."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnavailableFile(
            f"The folder {folder} cannot be read now ({error.strerror or error}). It was left as it is: try again when "
            "its disk or share answers and you may read it."
        ) from error


def _holds(path: Path, text: str) -> bool:
    """Whether a file is there and says this."""
    try:
        return read_text(path).strip() == text.strip()
    except UnreadableFile:
        return False


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """By name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _step(state: TensorFile) -> int | None:
    text = state.metadata.get("step", "")
    return int(text) if text.isdecimal() else None


def _losses(state: TensorFile) -> list[float]:
    return state.tensors["losses"].flatten().tolist()


def collect_remembered(
    run: Run | None,
    name: str,
    grid: Grid,
    count: int,
    parts: Callable[[int], Iterator[Tensor]],
    seconds: float = SAVE_SECONDS,
) -> Tensor:
    """The first `count` codes of `parts(done)`, joined along their first dimension and remembered in `run` as `name`.

    Whatever ends this early, the parts made so far are remembered, and the next call asks only for those after the
    first `done` rows. A process that is killed loses those of the last `seconds`.
    """
    unfinished = f"{name}-unfinished"
    found: list[Tensor] = []
    if run is not None:
        for codes in (run.remembered(name, grid), run.remembered(unfinished, grid)):
            if codes is not None and (not found or len(codes) > len(found[0])):
                found = [codes]  # where there are both, one begins the other
    done = sum(map(len, found))
    if done >= count:
        if run is not None and run.holds(unfinished):  # it was killed before the whole got its name
            _remember_if_possible(run, name, found[0])
            run.drop(unfinished)
        return found[0][:count]
    if found:
        log.info("%s: %d were made before, the others follow", name, done)
    saved = time.monotonic()
    try:
        for part in parts(done):
            found.append(part)
            if run is not None and time.monotonic() - saved >= seconds:
                run.open()
                run.remember(unfinished, torch.cat(found))
                saved = time.monotonic()
    except BaseException:
        if run is not None and found:
            _remember_if_possible(run, unfinished, torch.cat(found))
        raise
    whole = torch.cat(found)
    if run is not None:
        run.open()
        run.remember(name, whole)
        run.drop(unfinished)
    return whole


def _remember_if_possible(run: Run, name: str, value: Tensor) -> None:
    """Save while an error is on its way, which must arrive even where saving fails."""
    try:
        run.open()
        run.remember(name, value)
    except Exception as error:
        log.warning("%s could not be saved in %s: %s", name, run.folder, error)
        log.debug("Where it failed:", exc_info=True)
