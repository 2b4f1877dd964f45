"""Trains the three judges, or takes them from where a training left them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ar_core.files import weights_hash

from ..making.lessons import attribute_lesson, identity_lesson, pair_lesson
from ..making.loop import Lesson, Log, Step, Training, with_peak
from ..making.schedules import warm_up_and_fall
from .judges import AttributeJudge, IdentityJudge, PairJudge

LEARNING_RATE = 2e-3
WARM_UP = 50  # steps
FOLDER = "judges_3"  # another number when judges or lessons change: a judge never goes on from other lessons

Judge = AttributeJudge | IdentityJudge | PairJudge


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


def train_judges(folder: Path, steps: int, seed: int = 0, log: Log = print) -> Judges:
    """Train each judge for `steps` steps, checkpoints below `folder`, and go on from checkpoints there."""
    checkpoints = folder / FOLDER
    torch.manual_seed(seed)
    attributes = AttributeJudge()
    train_judge(attributes, attribute_lesson, checkpoints / "attribute.safetensors", steps, seed, log)
    torch.manual_seed(seed)
    identity = IdentityJudge()
    train_judge(identity, identity_lesson, checkpoints / "identity.safetensors", steps, seed, log)
    torch.manual_seed(seed)
    pairs = PairJudge()
    train_judge(pairs, pair_lesson, checkpoints / "pair.safetensors", steps, seed, log)
    return Judges(attributes, identity, pairs)


def train_judge(judge: Judge, lesson: Lesson, path: Path, steps: int, seed: int, log: Log) -> None:
    """Train a judge to the end, from its checkpoint at `path` where there is one."""

    def compute(step: int) -> Step:
        loss = judge.loss(*lesson(step, seed))
        return Step(loss, loss.item())

    optimizer = torch.optim.AdamW(judge.parameters(), lr=1.0, weight_decay=0.01)
    training = Training(
        judge,
        [with_peak(optimizer, LEARNING_RATE)],
        path,
        steps,
        compute,
        schedule=lambda step: warm_up_and_fall(step, steps, WARM_UP, 0.5 * steps),
        log=log,
    )
    training.run(training.resume())
    judge.eval()
