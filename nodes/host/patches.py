"""Personalizations as ComfyUI's patches of the transformer."""

from __future__ import annotations

from typing import Any

from ...ar_core import Personalization
from ...ar_core.adapters import Adapter, LowRankAdapter
from ..sockets import HostedModel
from .private import low_rank_patch


def apply_as_patches(
    ar: HostedModel, personalization: Personalization, strength: float, name: str | None
) -> HostedModel:
    """`ar` with a personalization applied; every other branch of the graph keeps what it has.

    `name`: what prompts call it; None is the saved identifier. Raises PersonalizationError, and ValueError for an
    adapter of other layers than this model has.
    """
    if ar.model.transformer.quantized:  # nothing can be added to rounded weights: the change is computed beside them
        return HostedModel(ar.model.personalized(personalization, strength, name), ar.transformer, ar.image_tokenizer)
    model = ar.model.with_identifier(personalization, strength, name)
    patcher = ar.transformer.clone()
    if personalization.adapter is not None and strength:
        patches = {f"{key}.weight": _patch(personalization.adapter, key) for key in personalization.adapter.names()}
        _check_patches(ar, personalization.adapter)
        patcher.add_patches(patches, strength)
    return HostedModel(model, patcher, ar.image_tokenizer)


def _patch(adapter: Adapter, name: str) -> Any:
    """The change of one layer as `add_patches` takes it."""
    patch = None
    if isinstance(adapter, LowRankAdapter):
        down, up = adapter.matrices(name)
        patch = low_rank_patch(up, down, adapter.alpha)
    if patch is None:
        patch = ("diff", (adapter.change(name),))
    return patch


def _check_patches(ar: HostedModel, adapter: Adapter) -> None:
    """ComfyUI ignores keys it does not know and shapes that do not fit. Raises ValueError."""
    weights = ar.transformer.model_state_dict()
    for name in adapter.names():
        weight = weights.get(f"{name}.weight")
        shape = adapter.shape(name)
        if weight is None:
            found = "does not exist"
        elif tuple(weight.shape) != shape:
            found = f"has the shape {tuple(weight.shape)}"
        else:
            continue
        raise ValueError(
            f"The personalization changes {name} with the shape {shape}, which {found} in this model. "
            "Load the model that it was trained on."
        )
