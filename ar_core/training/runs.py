"""Training is remembered: a folder per run, named by what determines it.

    <root>/<class>-<stage>-<key>/
        run.json                 what determines the run, readable
        READ ME.txt              what lies here and how to delete it
        steps/000050.safetensors what was learned by step 50 (kept)
        state.safetensors        newest state with optimizer: training goes on from here
        state.previous.safetensors
        codes.safetensors        codes of the photos and their views (in the run called "photos")
        sample-000050.safetensors codes of the picture drawn at a kept step
        prior.safetensors        codes of class images, where prior preservation is on
        *-unfinished.safetensors codes that were there when reading photos or drawing class images was stopped

Everything is written to a temporary name first and then renamed: a crash leaves the file before.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

README = """This folder remembers the training of one subject, so that no step is ever repeated.
It holds learned weights, and codes from which the training photos can be decoded: treat it like the photos. Delete all remembered trainings beside it with
    python -m ar_core forget "{root}"
"""


@dataclass(frozen=True, eq=False)
class State:
    """A training at one step."""

    step: int
    trainable: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    losses: list[float]


class Run:
    """One run's folder below `root`; `fields` are what determines it (not steps, names or previews)."""

    def __init__(self, root: Path, label: str, fields: dict[str, object]):
        text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        label = re.sub(r"[^\w]+", "-", label).strip("-")[:40]
        self.root, self.folder = Path(root), Path(root) / f"{label}-{key}"
        self.fields = fields

    def open(self) -> None:
        """Create the folder if it is not there."""
        (self.folder / "steps").mkdir(parents=True, exist_ok=True)
        (self.folder / "READ ME.txt").write_text(README.format(root=self.root), encoding="utf-8")
        text = json.dumps(self.fields, indent=1, sort_keys=True, ensure_ascii=False)
        (self.folder / "run.json").write_text(text, encoding="utf-8")

    def kept(self) -> list[int]:
        """Steps whose result was kept, in order."""
        return sorted(int(p.stem) for p in (self.folder / "steps").glob("[0-9]*.safetensors"))

    def result(self, step: int) -> dict[str, Tensor]:
        return _read(self._kept_path(step))[0]

    def keep(self, step: int, trainable: dict[str, Tensor]) -> None:
        _write(self._kept_path(step), trainable, {})

    def _kept_path(self, step: int) -> Path:
        return self.folder / "steps" / f"{step:06d}.safetensors"

    def save(self, state: State) -> None:
        """Make `state` the one to go on from; the one before stays as a reserve."""
        tensors = {f"trainable.{k}": v for k, v in state.trainable.items()}
        tensors |= {f"optimizer.{k}": v for k, v in state.optimizer.items()}
        tensors["losses"] = torch.tensor(state.losses, dtype=torch.float32)
        newest, previous = self.folder / "state.safetensors", self.folder / "state.previous.safetensors"
        partial = self.folder / "state.partial"
        _write(partial, tensors, {"step": str(state.step)})
        if newest.exists():
            newest.replace(previous)
        partial.replace(newest)

    def latest(self) -> State | None:
        """The newest readable state, None before the first."""
        for name in ("state.safetensors", "state.previous.safetensors"):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                tensors, metadata = _read(path)
            except (SafetensorError, OSError):
                continue  # damaged: the reserve is one save older
            parts = {
                kind: {k.removeprefix(f"{kind}."): v for k, v in tensors.items() if k.startswith(f"{kind}.")}
                for kind in ("trainable", "optimizer")
            }
            return State(int(metadata["step"]), parts["trainable"], parts["optimizer"], tensors["losses"].tolist())
        return None

    def remembered(self, name: str) -> Tensor | None:
        """A tensor kept beside the states, such as the prior's codes."""
        path = self.folder / f"{name}.safetensors"
        return _read(path)[0][name] if path.exists() else None

    def remember(self, name: str, value: Tensor) -> None:
        _write(self.folder / f"{name}.safetensors", {name: value}, {})

    def drop(self, name: str) -> None:
        """Delete what `remember` keeps under this name, where there is any."""
        (self.folder / f"{name}.safetensors").unlink(missing_ok=True)


def collected(run: Run | None, name: str, parts: Callable[[int], Iterator[Tensor]]) -> Tensor:
    """All of `parts(done)`, joined along their first dimension and remembered in `run` as `name`.

    Whatever ends this early, what is there is remembered, and the next call asks only for what comes after the first
    `done` rows.
    """
    unfinished = f"{name}-unfinished"
    before = run.remembered(unfinished) if run else None
    found = [] if before is None else [before]
    try:
        for part in parts(sum(len(part) for part in found)):
            found.append(part)
    except BaseException:
        if run and found:
            run.open()
            run.remember(unfinished, torch.cat(found))
        raise
    whole = torch.cat(found)
    if run:
        run.open()
        run.remember(name, whole)
        run.drop(unfinished)
    return whole


def forget(root: Path) -> int:
    """Delete every remembered training below `root` (and nothing else); returns how many there were."""
    runs = [path.parent for path in Path(root).glob("*/run.json")]
    for folder in runs:
        shutil.rmtree(folder)
    return len(runs)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    partial = path.with_name(path.name + ".writing")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, metadata)
    partial.replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
