"""What travels along the wires between our nodes, and what all of them need to be nodes of this pack."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..ar_core import ARModel, Photo
from ..ar_core.quoting import quoted

CATEGORY = "AR Personalization"  # in the menu

ARModelSocket = io.Custom("AR_MODEL")
SubjectSocket = io.Custom("SUBJECT")
PersonalizationSocket = io.Custom("PERSONALIZATION")  # carries an ar_core.Personalization


@dataclass(frozen=True, eq=False)
class HostedModel:
    """A model with the patchers through which ComfyUI loads, offloads and changes its two parts.

    `model` has the applied identifiers; the changes of its layers are patches of `transformer`. The modules
    themselves are shared by every branch of the graph.
    """

    model: ARModel
    transformer: ModelPatcher
    image_tokenizer: ModelPatcher

    @property
    def patcher(self) -> ModelPatcher:
        """By this name ComfyUI's cache knows what holds a model: those of old workflows are the first to go."""
        return self.transformer

    def get_models(self) -> list[ModelPatcher]:
        """All that ComfyUI should keep while the running workflow has this value."""
        return [self.transformer, self.image_tokenizer]

    def __str__(self) -> str:
        """What core's Preview as Text shows."""
        applied = [identifier.full_name for identifier in self.model.identifiers]
        return ", ".join([f"{self.model.family.title} in {self.model.transformer.precision}", *applied])


@dataclass(frozen=True, eq=False)
class SubjectPhotosValue:
    """Photos of one subject and the word for what they show; `keep_aspect`: they are learned from in their shape."""

    photos: tuple[Photo, ...]
    class_name: str
    keep_aspect: bool = False

    def __str__(self) -> str:
        """What core's Preview as Text shows."""
        return f"{count_of(len(self.photos), 'photo')} of one {self.class_name}"


def count_of(number: int, thing: str) -> str:
    """ "1 photo", "3 photos"."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing}s"


def check_choice(name: str, value: str, options: Collection[str]) -> None:
    """Raise ValueError unless the widget `name` has one of its options: prompts from the API may hold anything."""
    if value not in options:
        raise ValueError(f"{name} is {quoted(value)}; choose one of: {', '.join(options)}.")
