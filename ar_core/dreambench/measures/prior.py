"""Prior preservation: whether the bare class still looks like any other of its class. Lower is better."""

from __future__ import annotations

from torch import Tensor

from ..statistics import NAN
from .measure import Evidence, SubjectMeasure


def prior_preservation(class_images: Tensor, photos: Tensor) -> float:
    """How much pictures of the bare class (k, d) look like the subject's photos (m, d)."""
    return float((class_images @ photos.T).mean())


def _prior(seen: Evidence) -> float:
    if "vit" not in seen.class_images:
        return NAN
    return prior_preservation(seen.class_images["vit"], seen.photos["vit"])


PRIOR = SubjectMeasure("prior", "prior preservation", "PRES of DreamBooth (Ruiz et al. 2023)", compute=_prior)
