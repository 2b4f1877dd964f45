"""Training is remembered: a folder per run, named by what determines it.

<root>/<class>-<stage>-<key>/
    run.json                 what determines the run, readable
    READ ME.txt              what this folder is and how to delete it
    steps/000050.safetensors what was learned by step 50 (kept)
    state.safetensors        newest state with optimizer: training goes on from here
    state.previous.safetensors
    codes.safetensors        codes of the photos and their views (in the run called "photos")
    sample-000050.safetensors codes of the picture drawn at a kept step
    prior.safetensors        codes of class images, where prior preservation is on
    *-unfinished.safetensors codes made so far, where reading photos or drawing class images was stopped
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import (
    TensorFile,
    UnreadableFile,
    json_hash,
    prefixed,
    read_tensors,
    remove_abandoned,
    write_json,
    write_tensors,
    write_text,
)

README = """This folder remembers the training of one subject, so that no step is ever repeated.
It holds learned weights, and codes from which the training photos can be decoded: treat it like the photos.
This deletes it, with all other remembered trainings in the folder above it:
    python -m ar_core forget "{root}"
"""
EARLIER_TEMPORARY = ("state.partial", "*.writing")  # names that versions before `files.atomic_write` gave

SAVE_SECONDS = 60.0  # between two savings of what is collected

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class State:
    """A training at one step."""

    step: int
    trainable: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    losses: list[float]


class Run:
    """One run's folder below `root`; `fields` are what determines it (not steps, names or previews)."""

    def __init__(self, root: Path, label: str, fields: Mapping[str, object]):
        """`label`: readable words before the key, such as the class and the stage."""
        label = re.sub(r"[^\w]+", "-", label).strip("-")[:40]
        self.root = Path(root)
        self.folder = self.root / f"{label}-{json_hash(fields)[:16]}"
        self.fields = fields
        self._newest = self.folder / "state.safetensors"
        self._previous = self.folder / "state.previous.safetensors"

    def open(self) -> None:
        """Create the folder where it is missing, and remove what a killed process left in it."""
        (self.folder / "steps").mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder, *EARLIER_TEMPORARY)
        remove_abandoned(self.folder / "steps", *EARLIER_TEMPORARY)
        write_text(self.folder / "READ ME.txt", README.format(root=self.root))
        write_json(self.folder / "run.json", self.fields, sort_keys=True)

    def kept(self) -> list[int]:
        """Steps whose result was kept and can be read, in order."""
        steps = []
        for path in (self.folder / "steps").glob("[0-9]*.safetensors"):
            try:
                read_tensors(path)
            except UnreadableFile as error:
                log.warning("%s It is learned again.", error)
            else:
                steps.append(int(path.stem))
        return sorted(steps)

    def result(self, step: int) -> dict[str, Tensor]:
        """What was learned by a kept step. Raises UnreadableFile."""
        return read_tensors(self._kept_path(step)).tensors

    def keep(self, step: int, trainable: Mapping[str, Tensor]) -> None:
        """Keep what was learned by this step."""
        write_tensors(self._kept_path(step), trainable, {})

    def _kept_path(self, step: int) -> Path:
        return self.folder / "steps" / f"{step:06d}.safetensors"

    def save(self, state: State) -> None:
        """Make `state` the one to go on from; the one before stays as a reserve."""
        tensors = prefixed("trainable.", state.trainable) | prefixed("optimizer.", state.optimizer)
        tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64, device="cpu")
        write_tensors(self._newest, tensors, {"step": str(state.step)}, reserve=self._previous)

    def latest(self) -> State | None:
        """The newest readable state, None before the first. Its tensors are views of the file."""
        file = self._latest_file()
        if file is None:
            return None
        return State(_step(file), file.part("trainable."), file.part("optimizer."), _losses(file))

    def latest_step(self) -> int | None:
        """The step of the newest readable state, None before the first."""
        file = self._latest_file()
        if file is None:
            return None
        return _step(file)

    def losses(self) -> list[float]:
        """The losses of all steps up to the newest readable state."""
        file = self._latest_file()
        if file is None:
            return []
        return _losses(file)

    def _latest_file(self) -> TensorFile | None:
        for path in (self._newest, self._previous):
            if not path.exists():
                continue
            try:
                file = read_tensors(path)
            except UnreadableFile as error:
                log.warning("%s The state before it is taken instead, if there is one.", error)
                continue
            if "step" in file.metadata and "losses" in file.tensors:
                return file
            log.warning("%s is no state of a training. The one before it is taken instead, if there is one.", path)
        return None

    def remembered(self, name: str) -> Tensor | None:
        """A tensor kept with the states, such as the prior's codes; None where it is missing or damaged."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            tensors = read_tensors(path).tensors
        except UnreadableFile as error:
            log.warning("%s It is made again.", error)
            return None
        if name not in tensors:
            log.warning("%s does not hold %s, which is made again.", path, name)
            return None
        return tensors[name].clone()  # no view: the file may be replaced while it is used

    def remember(self, name: str, value: Tensor) -> None:
        """Keep a tensor with the states under this name."""
        write_tensors(self.folder / f"{name}.safetensors", {name: value}, {})

    def drop(self, name: str) -> None:
        """Delete what `remember` keeps under this name, where there is any."""
        (self.folder / f"{name}.safetensors").unlink(missing_ok=True)


def _step(state: TensorFile) -> int:
    return int(state.metadata["step"])


def _losses(state: TensorFile) -> list[float]:
    return state.tensors["losses"].tolist()


def collect_remembered(run: Run | None, name: str, parts: Callable[[int], Iterator[Tensor]]) -> Tensor:
    """All of `parts(done)`, joined along their first dimension and remembered in `run` as `name`.

    Whatever ends this early, the parts made so far are remembered, and the next call asks only for those after the
    first `done` rows. A process that is killed loses those of the last `SAVE_SECONDS`.
    """
    unfinished = f"{name}-unfinished"
    found: list[Tensor] = []
    before = None
    if run is not None:
        before = run.remembered(unfinished)
    if before is not None:
        log.info("%s: %d were made before, the others follow", name, len(before))
        found.append(before)
    saved = time.monotonic()
    try:
        for part in parts(sum(len(part) for part in found)):
            found.append(part)
            if run is not None and time.monotonic() - saved > SAVE_SECONDS:
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
    except Exception:
        log.exception("%s could not be saved in %s", name, run.folder)
