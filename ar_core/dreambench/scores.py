"""DreamBench's measures as pure functions of unit vectors.

DINO and CLIP-I compare every generated picture with every real photo of its subject; CLIP-T compares it with its
prompt, the identifier removed. All are raw cosines: no factor 2.5 (CLIPScore), no percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .statistics import NAN, mean


def subject_fidelity(generated: Tensor, photos: Tensor) -> Tensor:
    """DINO or CLIP-I of each picture (n,): its mean cosine to all photos. `generated` (n, d), `photos` (m, d)."""
    return (generated @ photos.T).mean(1)


def prompt_fidelity(generated: Tensor, prompts: Tensor) -> Tensor:
    """CLIP-T of each picture (n,): its cosine to its own prompt. Both (n, d)."""
    return (generated * prompts).sum(1)


def real_images(photos: Tensor) -> float:
    """The bound: mean cosine between different photos of one subject (a photo with itself would lift it)."""
    if len(photos) < 2:
        return NAN
    return float(_pairs(photos).mean())


@dataclass(frozen=True)
class CopyCheck:
    """How near pictures come to photos.

    `nearest` (n,): cosine of each picture to the photo it is most like. `limit`: the closest that two real photos come.
    """

    nearest: Tensor
    limit: float

    @property
    def suspected(self) -> Tensor:
        """(n,) True where a picture is closer to a photo than any two photos are to each other."""
        return self.nearest > self.limit


def copy_check(generated: Tensor, photos: Tensor) -> CopyCheck:
    """`generated` (n, d), `photos` (m, d). With a single photo nothing is suspected."""
    limit = 1.0
    if len(photos) > 1:
        limit = float(_pairs(photos).max())
    return CopyCheck((generated @ photos.T).max(1).values, limit)


def diversity(generated: Tensor, prompts: Sequence[str]) -> float:
    """1 - mean cosine between different pictures of one prompt, averaged over prompts; NaN where none has two."""
    found = []
    for prompt in dict.fromkeys(prompts):
        same = generated[[i for i, other in enumerate(prompts) if other == prompt]]
        if len(same) > 1:
            found.append(1 - float(_pairs(same).mean()))
    return mean(found)


def prior_preservation(class_images: Tensor, photos: Tensor) -> float:
    """DreamBooth's PRES: how much pictures of the bare class look like the subject. Lower is better."""
    return float((class_images @ photos.T).mean())


def _pairs(vectors: Tensor) -> Tensor:
    """Cosines of all pairs i < j."""
    pairs = torch.triu_indices(len(vectors), len(vectors), 1)
    return (vectors[pairs[0]] * vectors[pairs[1]]).sum(1)
