"""What travels along the wires between our nodes."""

from __future__ import annotations

from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..ar_core import ARModel, Photo

CATEGORY = "Lumina-mGPT"

ARModelSocket = io.Custom("AR_MODEL")
SubjectSocket = io.Custom("SUBJECT")
PersonalizationSocket = io.Custom("PERSONALIZATION")  # carries an ar_core.Personalization


@dataclass(frozen=True, eq=False)
class HostedModel:
    """A model with the patchers through which ComfyUI loads, offloads and changes its two parts.

    `model` knows the applied identifiers; the changes of its layers are patches of `transformer`. The modules
    themselves are shared by every branch of the graph.
    """

    model: ARModel
    transformer: ModelPatcher
    image_tokenizer: ModelPatcher


@dataclass(frozen=True, eq=False)
class SubjectPhotosValue:
    """Photos of one subject and the word for what they show."""

    photos: tuple[Photo, ...]
    class_name: str
