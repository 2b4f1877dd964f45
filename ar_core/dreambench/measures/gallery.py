"""First in the gallery: whether a picture looks more like its own subject than like any other of the data set.

A cosine of 0.7 means little where every dog reaches it. Here the subjects compete: by the ViT, each is as near as the
mean of its photos, and the picture counts where its own is the nearest of all (rank-1 identification). By chance that
is 1 of as many as there are subjects.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..statistics import NAN
from .likeness import subject_fidelity
from .measure import Evidence, PictureMeasure


def first_in_gallery(generated: Tensor, photos: Tensor, others: list[Tensor]) -> Tensor:
    """(n,) 1 where a picture (n, d) is nearer to `photos` (m, d) than to each of `others`, else 0.

    NaN where there are no others.
    """
    if not others:
        return torch.full((len(generated),), NAN)
    own = subject_fidelity(generated, photos)
    nearest = torch.stack([subject_fidelity(generated, theirs) for theirs in others]).max(0).values
    return (own > nearest).float()


def _first(seen: Evidence) -> Tensor:
    return first_in_gallery(seen.pictures["vit"], seen.photos["vit"], list(seen.others.values()))


GALLERY = PictureMeasure(
    "gallery",
    "first in gallery",
    "rank-1 identification, Phillips et al. 2000 (FERET)",
    compute=_first,
    needs_others=True,
)
