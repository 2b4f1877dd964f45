"""The whole benchmark: for every subject and strategy train, sample its prompts, and in the end score everything.

    <out>/<strategy>/<subject>/00_00.png …   prompt 0, image 0 …, each with its prompt inside
    <out>/<strategy>/<subject>/unit.json     what was asked for, how it went, how long it took
    <out>/_runs/                             remembered trainings: stage 1 is shared by the strategies that have one

One subject with one strategy is the unit of work. Finished units are never done again, a failed one is reported and
does not end the run. Processes share the work by subject; nothing that a unit computes depends on the others.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..control import Cancel, Cancelled, Progress, never, silent
from ..model import LuminaModel
from ..photos import read_photos
from ..pngs import save_png
from ..sampling import SamplingSettings
from ..training import TrainingSettings, personalize, prepare_subject
from .dataset import BenchSubject, DataSet

BATCH = 8  # pictures drawn at once; part of what decides them


@dataclass(frozen=True)
class Plan:
    """What a benchmark does; None in `training` means the family's recipe."""

    strategies: tuple[str, ...]
    images_per_prompt: int = 1
    seed: int = 0
    method: str = "lora"
    training: dict[str, object] = field(default_factory=dict)


class OtherPlan(ValueError):
    """The output folder holds results of other settings."""


class Benchmark:
    """Runs units into `out`."""

    def __init__(self, model: LuminaModel, data: DataSet, plan: Plan, out: Path, *, progress: Progress = silent, cancel: Cancel = never):
        self.model, self.data, self.plan, self.out, self.progress, self.cancel = model, data, plan, out, progress, cancel
        self.settings = {
            strategy: TrainingSettings.resolve(model.family, strategy=strategy, method=plan.method, seed=plan.seed, **plan.training)
            for strategy in plan.strategies
        }
        self.sampling = SamplingSettings.resolve(model.family, seed=plan.seed)

    def run(self, subjects: Sequence[BenchSubject], log: Callable[[str], None] = print) -> list[str]:
        """Do every unit of `subjects`; returns a line for each that failed. Cancelling keeps what is finished."""
        units = [(subject, strategy) for subject in subjects for strategy in self.plan.strategies]
        for subject, strategy in units:  # before anything is computed
            self._finished(subject, strategy)
        failed, seconds = [], []
        for number, (subject, strategy) in enumerate(units, 1):
            label = f"[{number}/{len(units)}] {subject.name}, {strategy}"
            if (done := self._finished(subject, strategy)) is not None and not done["failed"]:
                log(f"{label}: finished before")
                continue
            begin, problem = time.monotonic(), ""
            try:
                self._unit(subject, strategy)
            except Cancelled:
                raise
            except Exception as error:  # one subject must not end a run of days
                problem = f"{type(error).__name__}: {error}"
                failed.append(f"{subject.name}, {strategy}: {problem}")
                log(traceback.format_exc())
            seconds.append(time.monotonic() - begin)
            self._record(subject, strategy, problem, seconds[-1])
            left = sum(seconds) / len(seconds) * (len(units) - number)
            log(f"{label}: {problem or 'finished'} in {seconds[-1]:.0f} s, about {left / 60:.0f} min left")
        return failed

    def folder(self, subject: BenchSubject, strategy: str) -> Path:
        return self.out / strategy / subject.name

    def _asked(self, subject: BenchSubject, strategy: str) -> dict:
        asked = {
            "model": self.model.fingerprint, "training": self.settings[strategy].describe(), "sampling": self.sampling.describe(),
            "images_per_prompt": self.plan.images_per_prompt, "prompts": [p.template for p in self.data.prompts(subject)],
        }  # fmt: skip
        return json.loads(json.dumps(asked))

    def _finished(self, subject: BenchSubject, strategy: str) -> dict | None:
        """The record of a unit that ran before. Raises OtherPlan where it ran with other settings."""
        path = self.folder(subject, strategy) / "unit.json"
        if not path.exists():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["asked"] != self._asked(subject, strategy):
            raise OtherPlan(f"{path.parent} holds results of other settings or another model. Choose another --out, or delete that folder.")
        return record

    def _unit(self, subject: BenchSubject, strategy: str) -> None:
        runs = self.out / "_runs"
        photos, _ = read_photos(list(subject.photos))
        prepared = prepare_subject(self.model, photos, subject.class_name, runs=runs, progress=self.progress, cancel=self.cancel)
        learned = personalize(self.model, prepared, self.settings[strategy], runs, progress=self.progress, cancel=self.cancel)[-1]
        self._sample(self.model.personalized(learned.personalization), subject, self.folder(subject, strategy))

    def _sample(self, model: LuminaModel, subject: BenchSubject, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        each = self.plan.images_per_prompt
        prompts = [p.personal(subject.class_name) for p in self.data.prompts(subject) for _ in range(each)]
        for first in range(0, len(prompts), BATCH):
            drawn = model.generate(
                prompts[first : first + BATCH], self.sampling, first_image=first, progress=self.progress, cancel=self.cancel
            )
            for offset, image in enumerate(drawn):
                prompt, number = divmod(first + offset, each)
                save_png(image, first + offset, model, folder / f"{prompt:02d}_{number:02d}.png")

    def _record(self, subject: BenchSubject, strategy: str, problem: str, seconds: float) -> None:
        folder = self.folder(subject, strategy)
        folder.mkdir(parents=True, exist_ok=True)
        record = {"asked": self._asked(subject, strategy), "failed": problem, "seconds": round(seconds, 1)}
        partial = folder / "unit.partial"
        partial.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        partial.replace(folder / "unit.json")


def estimate(model: LuminaModel, data: DataSet, plan: Plan, out: Path) -> str:
    """What a run needs: units, pictures, finished ones, disk, and time where earlier units tell."""
    bench = Benchmark(model, data, plan, out)
    units = [(subject, strategy) for subject in data.subjects for strategy in plan.strategies]
    records = [bench._finished(subject, strategy) for subject, strategy in units]
    done = [record for record in records if record and not record["failed"]]
    pictures = sum(len(data.prompts(subject)) * plan.images_per_prompt for subject, _ in units)
    width, height = bench.sampling.size
    states = len(units) * _state_bytes(model, bench)
    lines = [
        f"{len(data.subjects)} subjects x {len(plan.strategies)} strategies = {len(units)} units, {pictures} pictures; {len(done)} units are finished",
        f"disk: about {(pictures * width * height * 2 + states) / 2**30:.1f} GiB in {out}",
    ]
    if done:
        mean = sum(record["seconds"] for record in done) / len(done)
        lines.append(f"time: about {mean * (len(units) - len(done)) / 60:.0f} min on one process, by the finished units")
    else:
        lines.append("time: unknown before the first unit; run one subject with --subjects to learn it")
    return "\n".join(lines)


def _state_bytes(model: LuminaModel, bench: Benchmark) -> int:
    """Learned values with their moments, twice (the newest state and its reserve), and the kept steps."""
    from ..training.budget import FLOAT, trainable_parameters

    settings = next(iter(bench.settings.values()))
    return (2 * 3 + settings.layer_steps // 20) * FLOAT * trainable_parameters(model.transformer, settings.method, settings.rank)
