"""Pictures of a class that the base model draws, for prior preservation: one collection for all trainings of the class.

It grows where a training asks for more, and every batch is kept as soon as it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..batches import BATCH, draw_in_batches
from ..control import Cancel, Progress
from ..families.protocol import Size
from ..model import ARModel
from ..sampling import SamplingSettings
from .runs import Run, collect_remembered, grid_of


def class_pictures(
    model: ARModel, sentence: str, size: Size, count: int, seed: int, runs: Path, *, progress: Progress, cancel: Cancel
) -> Tensor:
    """Codes (count, rows, columns) of pictures of `sentence`, drawn once and then remembered below `runs`."""
    sampling = class_sampling(model, size, seed)
    sentences = [sentence] * count

    def drawn(done: int) -> Iterator[Tensor]:
        for images in draw_in_batches(model, sentences, sampling, done=done, cancel=cancel):
            yield torch.cat([image.codes for image in images]).clone()
            done += len(images)
            progress(done, count, "drawing class images")

    run = class_run(model, sentence, size, seed, runs)
    with run.locked(progress, cancel):
        run.note_use()
        return collect_remembered(run, "prior", grid_of(model, size), count, drawn, seconds=0)


def class_run(model: ARModel, sentence: str, size: Size, seed: int, runs: Path) -> Run:
    """Where the pictures of a class are remembered, and what is computed of them."""
    return Run(runs, "class pictures", class_picture_fields(model, sentence, class_sampling(model, size, seed)))


def class_sampling(model: ARModel, size: Size, seed: int) -> SamplingSettings:
    """Of the window of whole batches, so that picture k is the same however many are asked for."""
    return replace(sampling_at(model, size, seed), window=model.auto_window(BATCH))


def sampling_at(model: ARModel, size: Size, seed: int) -> SamplingSettings:
    """The recipe's, at the size that is trained on, which may be one that the family does not list."""
    return replace(SamplingSettings.resolve(model.family, seed=seed), size=size)


def class_picture_fields(model: ARModel, sentence: str, sampling: SamplingSettings) -> dict[str, object]:
    """What determines the pictures of a class: not how many."""
    fields: dict[str, object] = {"base": model.fingerprint, "prompt": sentence, "pictures": sampling.describe()}
    if model.transformer.quantized:
        fields["weights"] = model.transformer.quantized
    return fields
