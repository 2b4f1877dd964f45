"""What the protocol measures of single pictures: likeness to photos by both encoders, and how each fits its prompt."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from .encoders import Encoders
from .measures.likeness import subject_fidelity
from .measures.prompt import prompt_fidelity


def fidelities(
    encoders: Encoders, photos: tuple[Tensor, Tensor], pictures: Sequence[Image.Image], sentences: Sequence[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines (pictures,) each, in the order of `encoders.choice.measures`.

    `photos`: their embeddings (photos, d) by the ViT and by the CLIP; `sentences`: of each picture, in plain words.
    """
    by_vit, by_clip = encoders.embed_images(pictures)
    return (
        subject_fidelity(by_vit, photos[0]),
        subject_fidelity(by_clip, photos[1]),
        prompt_fidelity(by_clip, encoders.embed_texts(sentences)),
    )
