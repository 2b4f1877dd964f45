"""The paper's observation about one photo: stage 1 on a single picture lowers the loss a little, and then it stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ar_core.control import Cancel, Progress
from ar_core.dreambench.dataset import BenchSubject
from ar_core.dreambench.statistics import mean
from ar_core.model import ARModel
from ar_core.photos import read_photos
from ar_core.training import TrainingSettings, personalize, prepare_subject


@dataclass(frozen=True)
class Fall:
    """Mean loss per code of the first, the middle and the last sixth of the steps."""

    first: float
    middle: float
    last: float


def single_photo_losses(
    model: ARModel, subjects: Sequence[BenchSubject], steps: int, runs: Path, progress: Progress, cancel: Cancel
) -> dict[str, dict[str, list[float]]]:
    """Losses of stage 1 by subject, on its first photo alone and on all of them.

    Without views, which would be more pictures.
    """
    recipe = replace(model.family.recipe, views=0)
    bare = replace(model, family=replace(model.family, recipe=recipe))
    settings = TrainingSettings.resolve(bare.family, strategy="embedding_only", embedding_steps=steps)
    found: dict[str, dict[str, list[float]]] = {}
    for subject in subjects:
        photos, _ = read_photos(list(subject.photos))
        found[subject.name] = {}
        for name, shown in (("one photo", photos[:1]), ("all photos", photos)):
            prepared = prepare_subject(bare, shown, subject.class_name, runs=runs, progress=progress, cancel=cancel)
            results = personalize(bare, prepared, settings, runs, progress=progress, cancel=cancel)
            found[subject.name][name] = results[-1].losses
    return found


def fall_of_losses(losses: Sequence[float]) -> Fall:
    """How far losses came by the middle and by the end."""
    sixth = max(1, len(losses) // 6)
    start = len(losses) // 2 - sixth // 2
    return Fall(mean(losses[:sixth]), mean(losses[start : start + sixth]), mean(losses[-sixth:]))
