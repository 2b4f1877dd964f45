"""Subject fidelity: every picture against every photo of its subject, by one encoder (DreamBooth's DINO and CLIP-I)."""

from __future__ import annotations

from torch import Tensor

from ..encoders import MoreEncoder
from ..statistics import NAN
from .measure import PictureMeasure, cosines_of_pairs


def subject_fidelity(generated: Tensor, photos: Tensor) -> Tensor:
    """DINO or CLIP-I of each picture (n,): its mean cosine to all photos. `generated` (n, d), `photos` (m, d)."""
    return (generated @ photos.T).mean(1)


def real_images(photos: Tensor) -> float:
    """The bound: mean cosine between different photos of one subject (a photo with itself would lift it)."""
    if len(photos) < 2:
        return NAN
    return float(cosines_of_pairs(photos).mean())


def likeness_measure(
    name: str, title: str, citation: str, encoder: str, more: tuple[MoreEncoder, ...] = ()
) -> PictureMeasure:
    """Subject fidelity by the encoder of that name; `more`: itself, where it is neither the ViT nor the CLIP."""
    return PictureMeasure(
        name,
        title,
        citation,
        compute=lambda seen: subject_fidelity(seen.pictures[encoder], seen.photos[encoder]),
        real=lambda seen: real_images(seen.photos[encoder]),
        encoders=more,
    )
