"""The whole benchmark: for every subject and way train, sample its prompts, and in the end score everything.

    <out>/<way>/<subject>/00_0_00.png …    prompt 0, training seed 0, image 0 …, each with its prompt inside
    <out>/<way>/<subject>/unit-0.json      what was asked for with seed 0, how it went, how long it took
    <out>/_runs/                           remembered trainings: stage 1 is shared by the ways that have one

One subject learned in one way with one seed is the unit of work. Finished units are never done again, a failed one is
reported and does not end the run. Processes share the work by subject; nothing that a unit computes depends on the others.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..control import Cancel, Cancelled, Progress, never, silent
from ..files import json_value, read_json, write_json
from ..memory import run_bytes, trainable_parameters
from ..model import ARModel
from ..photos import read_photos
from ..pngs import save_png
from ..sampling import SamplingSettings
from ..training import prepare_subject
from ..training.settings import LAYERS
from ..training.stages import KEEP_EVERY
from .dataset import BenchSubject, DataSet
from .ways import WAYS

BATCH = 8  # pictures drawn at once; part of what decides them


@dataclass(frozen=True)
class Plan:
    """What a benchmark does; None in `training` means the family's recipe."""

    ways: tuple[str, ...]
    images_per_prompt: int = 1
    seeds: tuple[int, ...] = (0,)
    training: dict[str, object] = field(default_factory=dict)

    def __post_init__(self):
        if unknown := [way for way in self.ways if way not in WAYS]:
            raise ValueError(f'There is no strategy "{unknown[0]}". Choose from: {", ".join(WAYS)}.')
        if self.images_per_prompt < 1:
            raise ValueError(f"images-per-prompt is {self.images_per_prompt}; it must be at least 1.")


@dataclass(frozen=True)
class Unit:
    subject: BenchSubject
    way: str
    seed: int

    def __str__(self):
        return f"{self.subject.name}, {self.way}, seed {self.seed}"


class OtherPlan(ValueError):
    """The output folder holds results of other settings."""


class Benchmark:
    """Runs units into `out`."""

    def __init__(
        self,
        model: ARModel,
        data: DataSet,
        plan: Plan,
        out: Path,
        *,
        progress: Progress = silent,
        cancel: Cancel = never,
    ):
        self.model, self.data, self.plan, self.out, self.progress, self.cancel = (
            model,
            data,
            plan,
            out,
            progress,
            cancel,
        )
        self.settings = {
            (way, seed): WAYS[way].settings(model.family, seed, plan.training)
            for way in plan.ways
            for seed in plan.seeds
        }
        self.sampling = {seed: SamplingSettings.resolve(model.family, seed=seed) for seed in plan.seeds}

    def units(self, subjects: Sequence[BenchSubject]) -> list[Unit]:
        return [Unit(subject, way, seed) for subject in subjects for seed in self.plan.seeds for way in self.plan.ways]

    def run(
        self, subjects: Sequence[BenchSubject], log: Callable[[str], None] = print, processes: int = 1
    ) -> list[str]:
        """Do every unit of `subjects`; returns a line for each that failed. Cancelling keeps what is finished.

        `processes`: how many share the data set, for the time left.
        """
        units = self.units(subjects)
        for unit in units:  # before anything is computed
            self.finished(unit)
        failed, seconds = [], []
        for number, unit in enumerate(units, 1):
            label = f"[{number}/{len(units)}] {unit}"
            if (done := self.finished(unit)) is not None and not done["failed"]:
                log(f"{label}: finished before")
                continue
            begin, problem = time.monotonic(), ""
            try:
                self._do(unit)
            except Cancelled:
                raise
            except Exception as error:  # one subject must not end a run of days
                problem = f"{type(error).__name__}: {error}"
                failed.append(f"{unit}: {problem}")
                log(traceback.format_exc())
            seconds.append(time.monotonic() - begin)
            self._record(unit, problem, seconds[-1])
            left = sum(seconds) / len(seconds) * self._unfinished() / processes
            log(
                f"{label}: {problem or 'finished'} in {seconds[-1]:.0f} s, about {left / 60:.0f} min left for the whole run"
            )
        return failed

    def folder(self, unit: Unit) -> Path:
        return self.out / unit.way / unit.subject.name

    def finished(self, unit: Unit) -> dict | None:
        """The record of a unit that ran before. Raises OtherPlan where it ran with other settings."""
        path = self._record_path(unit)
        if not path.exists():
            return None
        record = read_json(path)
        if record["asked"] != self._asked(unit):
            raise OtherPlan(
                f"{path} holds results of other settings or another model. Choose another --out, or delete that folder."
            )
        return record

    def _unfinished(self) -> int:
        """Units of the whole data set without a record, whichever process does them."""
        return sum(not self._record_path(unit).exists() for unit in self.units(self.data.subjects))

    def _record_path(self, unit: Unit) -> Path:
        return self.folder(unit) / f"unit-{unit.seed}.json"

    def _asked(self, unit: Unit) -> dict:
        settings = self.settings[unit.way, unit.seed]
        asked = {
            "model": self.model.fingerprint,
            "precision": self.model.transformer.precision,
            "training": settings and settings.describe(),
            "sampling": self.sampling[unit.seed].describe(),
            "images_per_prompt": self.plan.images_per_prompt,
            "prompts": [p.template for p in self.data.prompts(unit.subject)],
        }
        return json_value(asked)

    def _do(self, unit: Unit) -> None:
        runs, subject, way = self.out / "_runs", unit.subject, WAYS[unit.way]
        photos, _ = read_photos(list(subject.photos))
        prepared = prepare_subject(
            self.model, photos, subject.class_name, runs=runs, progress=self.progress, cancel=self.cancel
        )
        model = way.learn(self.model, prepared, self.settings[unit.way, unit.seed], runs, self.progress, self.cancel)
        prompts = self.data.prompts(subject)
        plain = way.strategy is None
        self._sample(
            model, [p.plain(subject.class_name) if plain else p.personal(subject.class_name) for p in prompts], unit
        )

    def _sample(self, model: ARModel, prompts: list[str], unit: Unit) -> None:
        folder, each, settings = self.folder(unit), self.plan.images_per_prompt, self.sampling[unit.seed]
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [prompt for prompt in prompts for _ in range(each)]
        for first in range(0, len(wanted), BATCH):
            drawn = model.generate(
                wanted[first : first + BATCH], settings, first_image=first, progress=self.progress, cancel=self.cancel
            )
            for offset, image in enumerate(drawn):
                prompt, number = divmod(first + offset, each)
                save_png(image, first + offset, model, folder / f"{prompt:02d}_{unit.seed}_{number:02d}.png")

    def _record(self, unit: Unit, problem: str, seconds: float) -> None:
        path = self._record_path(unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"asked": self._asked(unit), "failed": problem, "seconds": round(seconds, 1)}
        write_json(path, record)


def estimate(model: ARModel, data: DataSet, plan: Plan, out: Path) -> str:
    """What a run needs: units, pictures, finished ones, disk, and time where earlier units tell."""
    bench = Benchmark(model, data, plan, out)
    units = bench.units(data.subjects)
    done = [record for record in map(bench.finished, units) if record and not record["failed"]]
    pictures = sum(len(data.prompts(unit.subject)) * plan.images_per_prompt for unit in units)
    width, height = bench.sampling[plan.seeds[0]].size
    states = len(units) * _run_bytes(model, bench)
    lines = [
        f"{len(data.subjects)} subjects x {len(plan.ways)} strategies x {len(plan.seeds)} seeds = {len(units)} units, {pictures} pictures; "
        f"{len(done)} units are finished",
        f"disk: about {(pictures * width * height * 2 + states) / 2**30:.1f} GiB in {out}",
    ]
    if done:
        mean = sum(record["seconds"] for record in done) / len(done)
        lines.append(
            f"time: about {mean * (len(units) - len(done)) / 60:.0f} min on one process, by the finished units"
        )
    else:
        lines.append("time: unknown before the first unit; run one subject with --subjects to learn it")
    return "\n".join(lines)


def _run_bytes(model: ARModel, bench: Benchmark) -> int:
    """Disk of the remembered training of one unit."""
    settings = next((settings for settings in bench.settings.values() if settings), None)
    if settings is None:
        return 0
    parameters = trainable_parameters(model.transformer, settings.method, settings.rank)
    return run_bytes(parameters, kept=settings.layer_steps // KEEP_EVERY[LAYERS])
