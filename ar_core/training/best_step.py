"""Which step of a training is handed on: the last one, a chosen one, or the best by likeness and prompt together.

A training that goes on makes pictures more like the photos and, from some step on, less like their prompts. So at every
kept step the same few prompts are drawn with the same seed, and two numbers are measured (by a `Judge`, which brings
the encoders): likeness to the photos, and prompt following.

Raw, the two cannot be added: likeness moves by tenths where prompt following moves by hundredths, and how far each can
move differs from subject to subject. Both ends of the way are known, though, and are measured like any step:

    the base model, asked for the class word       likeness 0, prompt following 1
    the photos themselves, whatever was asked for  likeness 1, prompt following 0

On these scales, cut at 0 and 1, the best step has the largest harmonic mean (as F1 weighs precision and recall): a step
that has one of the two alone is worth nothing, whichever it is. Where two are equally good, the later one is taken, and
so the last one where none is any good.

Pictures and numbers are remembered in the run, so that a stopped choice goes on and a second one costs nothing:

    choice-000050-<hash>.safetensors   codes of the pictures of a kept step; 000000 is the base model's
    choice-<hash>.json                 what was measured of them
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from ..files import UnreadableFile, json_hash, read_json, write_json
from ..photos import unstack
from ..quoting import quoted
from ..tables import markdown_table
from ..text import without_identifier
from .sample_prompts import selection_prompts, subject_prompts
from .settings import STAGES, TrainingSettings
from .stages import SELECTED, Stage, StageResult, kept_steps

LAST = "last"
BEST = "best"
Select = str | int  # LAST, BEST, or the number of a kept step
SELECTION_SEED = 71_000  # of the pictures; no table and no preview draws with it
SMALLEST_WAY = 0.01  # between base and photos, in a measure's own units; less decides nothing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Means over pictures, in the encoders' own units."""

    likeness: float
    prompt: float


class Judge(Protocol):
    """Measures pictures of one subject. `measures`: what its two numbers are called. `key`: all that decides them."""

    measures: tuple[str, str]
    key: Mapping[str, Any]

    def read(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Reading:
        """Pictures, each with the sentence that it should show."""

    def read_photos(self, sentences: Sequence[str]) -> Reading:
        """The photos, likeness among themselves (1 of a single one), each against all of these sentences."""


@dataclass(frozen=True)
class StepTable:
    """Likeness and prompt following over steps, with both ends of the scales."""

    measures: tuple[str, str]
    base: Reading
    photos: Reading
    steps: Mapping[int, Reading]

    def likeness(self, step: int) -> float:
        """From 0, as the base model's pictures, to 1, as photos among themselves."""
        return _share(self.steps[step].likeness, self.base.likeness, self.photos.likeness)

    def prompt(self, step: int) -> float:
        """From 0, as photos that know nothing of a prompt, to 1, as the base model."""
        return _share(self.steps[step].prompt, self.photos.prompt, self.base.prompt)

    def together(self, step: int) -> float:
        """The harmonic mean of both."""
        likeness, prompt = self.likeness(step), self.prompt(step)
        if not likeness + prompt:
            return 0.0
        return 2 * likeness * prompt / (likeness + prompt)

    @property
    def best(self) -> int:
        """The step with the largest mean, the latest of several."""
        return max(sorted(self.steps), key=lambda step: (self.together(step), step))

    @property
    def head(self) -> list[str]:
        """Names of the columns of `rows`."""
        return ["step", *self.measures, "likeness", "prompt", "together"]

    def rows(self) -> list[list[str]]:
        """A row for each step, and one for either end."""
        found = []
        for step, reading in sorted(self.steps.items()):
            shares = (self.likeness(step), self.prompt(step), self.together(step))
            found.append([str(step), *_digits(reading.likeness, reading.prompt, *shares)])
        for name, end in (("base", self.base), ("photos", self.photos)):
            found.append([name, *_digits(end.likeness, end.prompt), "", "", ""])
        return found

    def as_markdown(self, taken: int) -> str:
        """For people; the step that was taken is bold."""
        rows = [[f"**{cell}**" if row[0] == str(taken) else cell for cell in row] for row in self.rows()]
        return "\n".join(markdown_table(self.head, rows))

    def as_csv(self, taken: int) -> str:
        """For programs, with a column that says which step was taken."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.head, "taken"])
        writer.writerows([*row, "yes" if row[0] == str(taken) else ""] for row in self.rows())
        return text.getvalue()


def _share(value: float, zero: float, one: float) -> float:
    """How far `value` is from `zero` to `one`, cut at both; 1 where these are no way apart, and nothing is told."""
    if one - zero < SMALLEST_WAY:
        return 1.0
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def _digits(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]


class Choice:
    """Chooses the step that a stage hands on, with a `StepTable` in `table` where one was made.

    `prompts`: of the pictures, with {} or the identifier's name where the subject goes; ours where there are none.
    """

    def __init__(
        self,
        select: Select,
        judge: Judge | None = None,
        prompts: Sequence[str] = (),
        progress: Progress = silent,
        cancel: Cancel = never,
    ):
        """Raises ValueError where the best is asked for and nobody can judge."""
        if select == BEST and judge is None:
            raise ValueError("The best step is chosen by likeness and prompt following, which needs encoders.")
        self.select = select
        self.judge = judge
        self.prompts = tuple(prompts)
        self.progress = progress
        self.cancel = cancel
        self.table: StepTable | None = None

    def __call__(self, stage: Stage, last: StageResult) -> StageResult:
        """What is handed on of a stage that was trained, with the samples of all its steps. Raises Cancelled."""
        if self.select == LAST:
            return last
        with stage.run.locked(self.progress, self.cancel):
            steps = readable_steps(stage, last.step)
            if self.select == BEST and len(steps) < 2:
                log.info("%s: one step is kept, the last, so that none is chosen", stage.name)
                return last
            if self.select == BEST:
                assert self.judge is not None
                self.table = _measured(stage, steps, self.judge, self._prompts(stage), self.progress, self.cancel)
                step = self.table.best
                how: dict[str, Any] = {"measures": list(self.judge.measures), "prompts": list(self._prompts(stage))}
            else:
                step = _kept_step(self.select, steps)
                how = {}
            chosen = stage.kept_personalization(step)
        recipe = {**chosen.recipe, SELECTED: {"by": str(self.select), "of": steps, **how}}
        log.info("%s: step %d of %s is handed on", stage.name, step, steps)
        return replace(last, personalization=replace(chosen, recipe=recipe), losses=last.losses[:step], step=step)

    def _prompts(self, stage: Stage) -> tuple[str, ...]:
        class_name = stage.subject.class_name
        return subject_prompts(self.prompts or selection_prompts(class_name), stage.identifier, class_name)


def readable_steps(stage: Stage, last: int) -> list[int]:
    """The kept steps up to `last` that `stage` was asked for; a step that was skipped has none."""
    kept = stage.run.kept()
    return [step for step in kept_steps(stage.name, last, stage.every) if step in kept]


def read_select(text: str) -> Select:
    """ "last", "best", or a step. Raises ValueError."""
    if text in (LAST, BEST):
        return text
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise ValueError(f"{quoted(text)} is no step to hand on. Give {LAST}, {BEST} or the number of a kept step.")


def check_select(select: Select, settings: TrainingSettings, every: int | None = None) -> None:
    """Raise ValueError, before anything is trained, for a step that the strategy's last stage will not keep."""
    if isinstance(select, int):
        stage = STAGES[settings.strategy][-1]
        _kept_step(select, kept_steps(stage, settings.steps(stage), every))


def select_among(select: Select, settings: TrainingSettings, every: int | None = None) -> Select:
    """`select`, or LAST where the best is asked for of the single step that the strategy's last stage will keep.

    So that nobody has to load encoders for a choice that is none.
    """
    stage = STAGES[settings.strategy][-1]
    if select == BEST and len(kept_steps(stage, settings.steps(stage), every)) == 1:
        return LAST
    return select


def _kept_step(step: Select, kept: Sequence[int]) -> int:
    if step not in kept:
        listed = ", ".join(map(str, kept))
        raise ValueError(f"Step {step} cannot be handed on: the last stage keeps its results at {listed}. Choose one.")
    return int(step)


# ------------------------------------------------------------ drawn, measured, remembered


def _measured(
    stage: Stage, steps: Sequence[int], judge: Judge, prompts: Sequence[str], progress: Progress, cancel: Cancel
) -> StepTable:
    """The table of these steps; what was drawn or measured before is not made again. Only while the run is locked."""
    sentences = [without_identifier(prompt, stage.subject.class_name) for prompt in prompts]
    memory = _Readings(stage, prompts, judge.key)
    for done, step in enumerate((0, *steps)):
        stop_if(cancel)
        name = f"step {step}" if step else "the base model"
        progress(done, len(steps) + 1, f"{stage.name}: scoring {name}, to find the best step")
        if str(step) not in memory.readings:
            codes = _pictures(stage, step, prompts, sentences, cancel)
            pictures = unstack(stage.model.decode(codes))
            memory.remember(str(step), judge.read(pictures, sentences))
    if "photos" not in memory.readings:
        memory.remember("photos", judge.read_photos(sentences))
    progress(len(steps) + 1, len(steps) + 1, f"{stage.name}: scored")
    readings = memory.readings
    return StepTable(judge.measures, readings["0"], readings["photos"], {step: readings[str(step)] for step in steps})


def _pictures(stage: Stage, step: int, prompts: Sequence[str], sentences: Sequence[str], cancel: Cancel) -> Tensor:
    """Codes (prompts, rows, columns) drawn by what was learned by a kept step, by the base where that is 0."""
    asked = list(prompts) if step else list(sentences)
    name = f"choice-{step:06d}-{json_hash([asked, SELECTION_SEED])[:16]}"
    codes = stage.run.remembered(name, stage.grid)
    if codes is None or len(codes) != len(asked):
        codes = stage.draw(step, asked, SELECTION_SEED, cancel)
        stage.run.remember(name, codes)
    return codes


class _Readings:
    """What was measured of a run's steps by one judge with one set of prompts, in a file of the run."""

    def __init__(self, stage: Stage, prompts: Sequence[str], key: Mapping[str, Any]):
        self.asked = {"prompts": list(prompts), "seed": SELECTION_SEED, "judge": dict(key)}
        self.path: Path = stage.run.folder / f"choice-{json_hash(self.asked)[:16]}.json"
        self.readings = self._remembered()

    def remember(self, name: str, reading: Reading) -> None:
        """Keep one more, of "0", "20", …, or "photos"."""
        self.readings[name] = reading
        found = {name: [reading.likeness, reading.prompt] for name, reading in self.readings.items()}
        said = {"asked": self.asked, "readings": found}
        write_json(self.path, {**said, "checksum": json_hash(said)})

    def _remembered(self) -> dict[str, Reading]:
        """Nothing where the file is missing or damaged, by a single digit too: it is measured again."""
        try:
            said = read_json(self.path)
            if said.pop("checksum") != json_hash(said) or said["asked"] != self.asked:
                return {}
            return {name: Reading(*map(float, values)) for name, values in said["readings"].items()}
        except (UnreadableFile, LookupError, TypeError, ValueError, AttributeError):
            return {}
