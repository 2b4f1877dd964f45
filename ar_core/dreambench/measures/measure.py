"""What a measure is, and what it sees of a subject: unit vectors alone, no files and no networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..encoders import MoreEncoder


@dataclass(frozen=True, eq=False)
class Evidence:
    """One subject's n pictures and m photos, as unit vectors of every encoder: "vit", "clip", and more by their names.

    `pictures`, `photos`, `class_images`: (n, d), (m, d) and (k, d) by encoder; the last is empty where there are none.
    `prompts`: one for each picture, and `sentences` (n, d) the same by the CLIP. `others`: the photos (m, d) of every
    other subject of the data set by the ViT; empty where there are no others, or no measure asked for them.
    `trainings`: which model drew each picture, where several did, as with several training seeds.
    """

    prompts: Sequence[str]
    sentences: Tensor
    pictures: Mapping[str, Tensor]
    photos: Mapping[str, Tensor]
    class_images: Mapping[str, Tensor] = field(default_factory=dict)
    others: Mapping[str, Tensor] = field(default_factory=dict)
    trainings: Sequence[int | None] = ()

    @property
    def drawn_alike(self) -> list[tuple[str, int | None]]:
        """What a picture shares with those of the same prompt by the same model."""
        trainings = self.trainings or [None] * len(self.prompts)
        return list(zip(self.prompts, trainings, strict=True))


@dataclass(frozen=True)
class PictureMeasure:
    """A number for every picture, (n,); a subject's is the mean.

    `title`: of its column. `citation`: who proposed it. `real`: what different photos of the subject reach among
    themselves, the bound. `encoders`: those it needs beside the ViT and the CLIP. A number that does not exist is NaN.
    """

    name: str  # what --measures takes
    title: str
    citation: str
    compute: Callable[[Evidence], Tensor]
    real: Callable[[Evidence], float] | None = None
    encoders: tuple[MoreEncoder, ...] = ()
    needs_others: bool = False


@dataclass(frozen=True)
class SubjectMeasure:
    """One number for all pictures of a subject; the fields are those of `PictureMeasure`."""

    name: str
    title: str
    citation: str
    compute: Callable[[Evidence], float]
    encoders: tuple[MoreEncoder, ...] = ()
    needs_others: bool = False


Measure = PictureMeasure | SubjectMeasure


def cosines_of_pairs(vectors: Tensor) -> Tensor:
    """Cosines of all pairs i < j of unit vectors (n, d)."""
    pairs = torch.triu_indices(len(vectors), len(vectors), 1)
    return (vectors[pairs[0]] * vectors[pairs[1]]).sum(1)
