"""The whole benchmark: for every subject and variant train, then draw its prompts.

    <out>/<variant>/<subject>/00_0_00.png …    prompt 0, training seed 0, image 0 …, each with its prompt inside
    <out>/<variant>/<subject>/unit-0.json      what was asked for with seed 0, how it went, how long it took
    <out>/_runs/                               remembered trainings: variants with the same stage 1 share it

One subject learned in one variant with one seed is the unit of work. Finished units are never done again, a failed one
is reported and does not end the run. Processes share the work by subject; nothing that a unit computes depends on the
others.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..batches import draw_in_batches
from ..control import Cancel, Cancelled, Progress, never, silent
from ..families.registry import FAMILIES
from ..files import UnreadableFile, ensure_folder, json_hash, json_value, read_json, write_json
from ..model import ARModel
from ..photos import read_photos
from ..pngs import save_png
from ..quoting import quoted
from ..sampling import SamplingSettings
from ..training import TrainingSettings, prepare_subject
from ..training.best_step import BEST, LAST, Choice, Select, check_select
from ..training.sample_prompts import SELECTION_PROMPTS
from ..training.subject import source_fields
from ..training.views import view_fields
from .dataset import BenchSubject, DataSet
from .encoders import Encoders
from .pictures import Picture, WholePictures
from .step_judge import StepJudge
from .variants import VARIANTS

RUNS = "_runs"
PICTURES = "pictures"  # in a record: the hashes of what was drawn

log = logging.getLogger(__name__)


def check_named_once(option: str, values: Sequence[object]) -> None:
    """Raise ValueError where a list of the command line names something twice."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"--{option} names {quoted(value)} twice; name each once.")


@dataclass(frozen=True)
class Plan:
    """What a benchmark does; None in `training` and in `sampling` means the family's recipe.

    `spread`: the subjects that are trained with every seed, all where None; the others, with the first. `select`: which
    step of each training is used.
    """

    variants: tuple[str, ...]
    images_per_prompt: int = 1
    seeds: tuple[int, ...] = (0,)
    training: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    spread: tuple[str, ...] | None = None
    select: Select = LAST

    def __post_init__(self) -> None:
        for name in self.variants:
            if name not in VARIANTS:
                raise ValueError(f"There is no strategy {quoted(name)}. Choose from: {', '.join(VARIANTS)}.")
        check_named_once("strategies", self.variants)
        check_named_once("seeds", self.seeds)
        if self.images_per_prompt < 1:
            raise ValueError(f"images-per-prompt is {self.images_per_prompt}; it must be at least 1.")

    def select_of(self, variant: str) -> Select:
        """Which step of a variant's trainings is used.

        The last one for a variant that draws with less than its training learned: the pictures that choose the best
        would be others than those it is judged by.
        """
        if self.select == BEST and VARIANTS[variant].embedding_alone:
            return LAST
        return self.select

    def seeds_of(self, subject: BenchSubject) -> tuple[int, ...]:
        """The training seeds of a subject."""
        if self.spread is None or subject.name in self.spread:
            return self.seeds
        return self.seeds[:1]


@dataclass(frozen=True)
class Unit:
    """One subject learned in one variant with one seed."""

    subject: BenchSubject
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.subject.name}, {self.variant}, seed {self.seed}"


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
        encoders: Encoders | None = None,
    ):
        """`encoders`: what best steps are chosen by. Raises ValueError for settings and steps that cannot be."""
        self.encoders = encoders
        self.model = model
        self.data = data
        self.plan = plan
        self.out = out
        self.progress = progress
        self.cancel = cancel
        self.training: dict[tuple[str, int], TrainingSettings | None] = {}  # by variant and seed
        self.sampling: dict[int, SamplingSettings] = {}  # by seed
        self._whole = WholePictures()
        self._photo_hashes: dict[tuple[tuple[Path, int, int], ...], str] = {}  # by the files' times and sizes
        for seed in plan.seeds:
            self.sampling[seed] = SamplingSettings.resolve(model.family, seed=seed, **plan.sampling)
            for variant in plan.variants:
                training = VARIANTS[variant].settings(model.family, seed, plan.training)
                if training is not None:
                    check_select(plan.select, training)
                self.training[variant, seed] = training

    def units(self, subjects: Sequence[BenchSubject]) -> list[Unit]:
        """All units of these subjects, in the order in which they are done."""
        plan = self.plan
        return [
            Unit(subject, variant, seed)
            for subject in subjects
            for seed in plan.seeds_of(subject)
            for variant in plan.variants
        ]

    def run(
        self, subjects: Sequence[BenchSubject], say: Callable[[str], None] = print, processes: int = 1
    ) -> list[str]:
        """Do every unit of `subjects`; returns a line for each that failed. Cancelling keeps what is finished.

        `processes`: how many share the data set, for the time left. Raises OtherPlan before anything is computed.
        """
        units = self.units(subjects)
        records = self._records(units)
        failed = []
        seconds: list[float] = []
        for number, (unit, record) in enumerate(zip(units, records, strict=True), 1):
            label = f"[{number}/{len(units)}] {unit}"
            if self.is_done(unit, record):
                say(f"{label}: finished before")
                continue
            start = time.monotonic()
            problem = self._try(unit, say)
            if problem:
                failed.append(f"{unit}: {problem}")
            seconds.append(time.monotonic() - start)
            self._record(unit, problem, seconds[-1])
            left = sum(seconds) / len(seconds) * self.unfinished() / processes / 60
            outcome = problem or "finished"
            say(f"{label}: {outcome} in {seconds[-1]:.0f} s, about {left:.0f} min left for the whole run")
        return failed

    def check_records(self) -> None:
        """Raise OtherPlan where a unit of the data set ran with other settings."""
        self._records(self.units(self.data.subjects))

    def _records(self, units: Sequence[Unit]) -> list[dict[str, Any] | None]:
        return [self.finished(unit) for unit in units]

    def not_done(self) -> list[str]:
        """A line about the units of the data set that are not done, whichever process they are of; none if all are."""
        left = self.left()
        if not left:
            return []
        count = len(self.units(self.data.subjects))
        return [f"{len(left)} of {count} units are not done and not in the scores: {'; '.join(map(str, left))}."]

    def _try(self, unit: Unit, say: Callable[[str], None]) -> str:
        """Do a unit; what went wrong, or "". One subject must not end a run of days. Raises Cancelled."""
        try:
            self._do(unit)
        except Cancelled:
            raise
        except Exception as error:
            say(traceback.format_exc())
            return f"{type(error).__name__}: {error}"
        return ""

    def pictures(self, variant: str) -> list[Picture]:
        """The pictures of all units of a variant that are done, with the sentences that CLIP-T compares them with."""
        found = []
        for unit in self.units(self.data.subjects):
            if unit.variant != variant or not self.is_done(unit, self.finished(unit)):
                continue
            sentences = [prompt.plain(unit.subject.class_name) for prompt in self.data.prompts(unit.subject)]
            for number, path in enumerate(self._picture_paths(unit)):
                sentence = sentences[number // self.plan.images_per_prompt]
                found.append(Picture(path, unit.subject.name, sentence, unit.seed))
        return found

    def _picture_paths(self, unit: Unit) -> list[Path]:
        """The copies of the first prompt, then those of the next, and so on."""
        prompts = range(len(self.data.prompts(unit.subject)))
        return [
            self._picture_path(unit, prompt, copy) for prompt in prompts for copy in range(self.plan.images_per_prompt)
        ]

    def _picture_path(self, unit: Unit, prompt: int, copy: int) -> Path:
        return self.folder(unit) / f"{prompt:02d}_{unit.seed}_{copy:02d}.png"

    # ---------------------------------------------------------------- records

    def folder(self, unit: Unit) -> Path:
        """Where a unit's pictures and records lie."""
        return self.out / unit.variant / unit.subject.name

    def finished(self, unit: Unit) -> dict[str, Any] | None:
        """The record of a unit that ran before. Raises OtherPlan where it ran with other settings."""
        record = self._recorded(unit)
        if record is None:
            return None
        path = self._record_path(unit)
        asked = self._asked(unit)
        recorded = {**self._not_recorded(asked), **record["asked"]}
        changed = [name for name in {**asked, **recorded} if recorded.get(name) != asked.get(name)]
        if changed:
            raise OtherPlan(
                f"{path} holds results of other settings, photos or another model (changed: {', '.join(changed)}). "
                "Choose another --out, or delete that folder."
            )
        return record

    def _not_recorded(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What version 0.1 did not record, as it must have been: the same class and photos.

        Views of the photos were always made by the family's own recipe: after others were asked for, photos differ.
        """
        own = FAMILIES.get(self.model.family.name, self.model.family).recipe
        photos = asked["photos"]
        if photos is not None and view_fields(self.model.family.recipe) != view_fields(own):
            photos = "with the family's own views"
        return {"class": asked["class"], "photos": photos}

    def left(self) -> list[Unit]:
        """Units of the whole data set that are still to be done, whichever process does them."""
        return [unit for unit in self.units(self.data.subjects) if not self.is_done(unit, self._recorded(unit))]

    def unfinished(self) -> int:
        """How many these are."""
        return len(self.left())

    def is_done(self, unit: Unit, record: dict[str, Any] | None) -> bool:
        """Whether a unit with this record is done; one that failed, or that lost a picture, is done again."""
        if record is None or record["failed"]:
            return False
        paths = self._picture_paths(unit)
        drawn = record.get(PICTURES) or [""] * len(paths)  # version 0.2 did not note which they were
        if not isinstance(drawn, list) or len(drawn) != len(paths):
            return False
        for path, expected in zip(paths, drawn, strict=True):
            found = self._whole.hash(path)
            if not found or (expected and expected != found):
                log.warning("%s is missing, damaged or another picture: %s is drawn again", path, unit)
                return False
        return True

    def _recorded(self, unit: Unit) -> dict[str, Any] | None:
        path = self._record_path(unit)
        if not path.exists():
            return None
        try:
            record = read_json(path)
        except UnreadableFile as error:
            log.warning("%s", error)
            record = None
        if isinstance(record, dict) and isinstance(record.get("asked"), dict) and "failed" in record:
            return record
        log.warning("%s does not say what was drawn: %s is drawn again", path, unit)
        return None

    def _record_path(self, unit: Unit) -> Path:
        return self.folder(unit) / f"unit-{unit.seed}.json"

    def _asked(self, unit: Unit) -> dict[str, Any]:
        """What decides the pictures of a unit."""
        training = self.training[unit.variant, unit.seed]
        described = None
        photos = None
        if training is not None:
            described = training.describe()
            photos = self._photos_hash(unit.subject)
        asked = {
            "model": self.model.fingerprint,
            "precision": self.model.transformer.precision,
            "training": described,
            "photos": photos,
            "sampling": self.sampling[unit.seed].describe(),
            "images_per_prompt": self.plan.images_per_prompt,
            "class": unit.subject.class_name,
            "prompts": [prompt.template for prompt in self.data.prompts(unit.subject)],
        }
        select = self.plan.select_of(unit.variant)
        if training is not None and select != LAST:  # came later: earlier records have no such field
            asked["selected"] = self._selection(select)
        return json_value(asked)

    def _selection(self, select: Select) -> dict[str, Any]:
        """What decides which step of a training is used."""
        if select != BEST:
            return {"by": select}
        return {"by": BEST, "prompts": SELECTION_PROMPTS, "instruments": self._encoders().instruments}

    def _encoders(self) -> Encoders:
        """Those that choose steps. Raises ValueError without any."""
        if self.encoders is None:
            raise ValueError("The best step is chosen by likeness and prompt following, which needs encoders.")
        return self.encoders

    def _photos_hash(self, subject: BenchSubject) -> str:
        """A name for the photos, and for how views of them are made; they are read again only when a file changed."""
        states = [path.stat() for path in subject.photos]
        files = tuple(
            (path, state.st_mtime_ns, state.st_size) for path, state in zip(subject.photos, states, strict=True)
        )
        if files not in self._photo_hashes:
            photos, _ = read_photos(list(subject.photos))
            fields = source_fields(self.model, photos, self.model.family.recipe.learned_size)
            self._photo_hashes[files] = json_hash(fields)
        return self._photo_hashes[files]

    def _record(self, unit: Unit, problem: str, seconds: float) -> None:
        path = self._record_path(unit)
        ensure_folder(path.parent)
        drawn = [self._whole.hash(picture) for picture in self._picture_paths(unit)]
        record = {"asked": self._asked(unit), "failed": problem, "seconds": round(seconds, 1), PICTURES: drawn}
        write_json(path, record)

    # ---------------------------------------------------------------- the work

    def _do(self, unit: Unit) -> None:
        variant = VARIANTS[unit.variant]
        runs = self.out / RUNS
        class_name = unit.subject.class_name
        photos, _ = read_photos(list(unit.subject.photos))
        subject = prepare_subject(self.model, photos, class_name, runs=runs, progress=self.progress, cancel=self.cancel)
        training = self.training[unit.variant, unit.seed]
        judge = None
        select = self.plan.select_of(unit.variant)
        if select == BEST:
            judge = StepJudge(self._encoders(), photos)
        choice = Choice(select, judge, progress=self.progress, cancel=self.cancel)
        model = variant.learn(self.model, subject, training, runs, self.progress, self.cancel, choice)
        prompts = self.data.prompts(unit.subject)
        if variant.strategy is None:
            sentences = [prompt.plain(class_name) for prompt in prompts]
        else:
            sentences = [prompt.personal(class_name) for prompt in prompts]
        self._sample(model, sentences, unit)

    def _sample(self, model: ARModel, prompts: list[str], unit: Unit) -> None:
        """Draw and save the pictures of all prompts, in batches."""
        folder = self.folder(unit)
        ensure_folder(folder)
        each = self.plan.images_per_prompt
        wanted = [prompt for prompt in prompts for _ in range(each)]
        number = 0
        for drawn in draw_in_batches(
            model, wanted, self.sampling[unit.seed], progress=self.progress, cancel=self.cancel
        ):
            for image in drawn:
                prompt, copy = divmod(number, each)
                save_png(image, number, model, self._picture_path(unit, prompt, copy))
                number += 1
        log.debug("Drew %d pictures into %s", len(wanted), folder)
