"""Prompt fidelity: every picture against its own prompt, the identifier removed (CLIP-T).

A raw cosine: no factor 2.5 and no zero for what is below it (CLIPScore), no percent.
"""

from __future__ import annotations

from torch import Tensor

from .measure import PictureMeasure


def prompt_fidelity(generated: Tensor, prompts: Tensor) -> Tensor:
    """CLIP-T of each picture (n,): its cosine to its own prompt. Both (n, d)."""
    return (generated * prompts).sum(1)


def prompt_measure(name: str, title: str, citation: str) -> PictureMeasure:
    """Prompt fidelity by the CLIP."""
    return PictureMeasure(
        name, title, citation, compute=lambda seen: prompt_fidelity(seen.pictures["clip"], seen.sentences)
    )
