"""Trains the three judges, or takes them from where a training left them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ar_core.files import weights_hash

from ..making.lesson_training import Course, learn_lessons
from ..making.lessons import attribute_lesson, identity_lesson, pair_lesson
from ..making.loop import Lesson, Log
from ..making.place import HERE, Place
from .judges import AttributeJudge, IdentityJudge, PairJudge

LEARNING_RATE = 2e-3
WARM_UP = 50  # steps
FOLDER = "judges_4"  # another number when judges or lessons change: a judge never goes on from other lessons

JUDGES: dict[str, tuple[type[nn.Module], Lesson]] = {
    "attribute": (AttributeJudge, attribute_lesson),
    "identity": (IdentityJudge, identity_lesson),
    "pair": (PairJudge, pair_lesson),
}


@dataclass(frozen=True)
class Judges:
    """Who measures."""

    attributes: AttributeJudge
    identity: IdentityJudge
    pairs: PairJudge

    @property
    def digest(self) -> str:
        """A name for their weights."""
        return weights_hash([self.attributes, self.identity, self.pairs])[:12]


def train_judges(folder: Path, course: Course, log: Log = print) -> Judges:
    """Train each judge, checkpoints below `folder`, and go on from checkpoints there."""
    attributes = train_judge("attribute", folder, course, log)
    identity = train_judge("identity", folder, course, log)
    pairs = train_judge("pair", folder, course, log)
    return Judges(attributes, identity, pairs)


def train_judge(name: str, folder: Path, course: Course, log: Log = print) -> Any:
    """Train one of JUDGES to the end."""
    kind, lesson = JUDGES[name]
    torch.manual_seed(course.seed)
    judge: Any = kind()
    learn_lessons(judge, judge.loss, lesson, folder / FOLDER / f"{name}.safetensors", course, log)
    return judge


def judge_course(steps: int, place: Place = HERE, workers: int = 0) -> Course:
    """How the judges learn."""
    return Course(steps, LEARNING_RATE, WARM_UP, weight_decay=0.01, place=place, workers=workers)
