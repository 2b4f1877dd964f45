"""Diversity: how different pictures of one prompt are. DreamBooth's DIV takes LPIPS; here it is the ViT."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..statistics import mean
from .measure import SubjectMeasure, cosines_of_pairs


def diversity(generated: Tensor, prompts: Sequence[object]) -> float:
    """1 - mean cosine between different pictures of one prompt, averaged over prompts; NaN where none has two.

    `prompts`: equal for pictures of one prompt by one model.
    """
    found = []
    for prompt in dict.fromkeys(prompts):
        same = generated[[i for i, other in enumerate(prompts) if other == prompt]]
        if len(same) > 1:
            found.append(1 - float(cosines_of_pairs(same).mean()))
    return mean(found)


DIVERSITY = SubjectMeasure(
    "diversity",
    "diversity",
    "DIV of DreamBooth (Ruiz et al. 2023), with the ViT in place of LPIPS",
    compute=lambda seen: diversity(seen.pictures["vit"], seen.drawn_alike),
)
