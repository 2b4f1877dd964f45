"""All measures: those of the protocol, which every report has, and those that `--measures` adds."""

from __future__ import annotations

from collections.abc import Sequence

from ...quoting import quoted
from ..encoders import EncoderChoice, MoreEncoder
from .dinov2 import DINOV2
from .gallery import GALLERY
from .likeness import likeness_measure
from .measure import Measure, PictureMeasure
from .prompt import prompt_measure

DREAMBOOTH = "Ruiz et al. 2023 (DreamBooth), arXiv 2208.12242"
OPTIONAL: dict[str, Measure] = {measure.name: measure for measure in (DINOV2, GALLERY)}


def protocol_measures(choice: EncoderChoice) -> tuple[PictureMeasure, PictureMeasure, PictureMeasure]:
    """DINO, CLIP-I and CLIP-T, or what the chosen encoders call them."""
    vit, clip, prompt = choice.measures
    return (
        likeness_measure("vit", vit, DREAMBOOTH, "vit"),
        likeness_measure("clip", clip, DREAMBOOTH, "clip"),
        prompt_measure("prompt", prompt, DREAMBOOTH),
    )


def choose_measures(names: str) -> tuple[Measure, ...]:
    """Those of a comma-separated list, each once; "" for none. Raises ValueError."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in OPTIONAL:
            raise ValueError(f"--measures has {quoted(name)}. Choose from: {', '.join(OPTIONAL)}.")
    return tuple(OPTIONAL[name] for name in dict.fromkeys(wanted))


def needs_others(measures: Sequence[Measure]) -> bool:
    """Whether any of these looks at the photos of the other subjects."""
    return any(measure.needs_others for measure in measures)


def needed_encoders(measures: Sequence[Measure]) -> list[MoreEncoder]:
    """What these measures need beside the ViT and the CLIP."""
    return list(dict.fromkeys(encoder for measure in measures for encoder in measure.encoders))
