"""What determines a training, and so the name of its folder: the same fields, the same run.

The hash of these fields names every training that users have on their disks. Were a field added for all, all of them
would get another name, and everything would be trained again. So the lists below are fixed, and a new setting enters
only where it differs from how trainings were made before it existed.
"""

from __future__ import annotations

from dataclasses import replace

from ..files import tensor_hash
from ..model import ARModel
from ..personalization import Personalization
from .settings import DEEP, EMBEDDING, JOINT, LAYERS, PRIOR_STAGES, WITH_MASKS, TrainingSettings
from .subject import Subject

_COMMON = (
    "vectors",
    "initialisation",
    "per_image_token",
    "prior_preservation",
    "prior_weight",
    "prior_images",
    "batch_size",
    "micro_batch",
    "clip_norm",
    "seed",
)
# By stage, the settings that decide its outcome. Never change: see above.
DECIDING = {
    EMBEDDING: (*_COMMON, "embedding_learning_rate"),
    DEEP: (
        "vectors",
        "initialisation",
        "batch_size",
        "micro_batch",
        "clip_norm",
        "seed",
        "depth",
        "deep_learning_rate",
        "image_concept",
        "per_image_token",
        "embedding_learning_rate",
    ),
    LAYERS: (*_COMMON, "layer_learning_rate", "method", "rank"),
    JOINT: (*_COMMON, "embedding_learning_rate", "layer_learning_rate", "method", "rank"),
}
# By stage, settings that came later and also decide, each with the value that stands for "as before".
_LATER: dict[str, object] = {"templates": ()}
ADDED: dict[str, dict[str, object]] = {
    **dict.fromkeys((EMBEDDING, LAYERS, JOINT), _LATER),
    DEEP: {**_LATER, "context_weight": 0.0, "dual_prior_weight": 0.0},
}
WITH_DUAL_PRIOR = ("dual_prior_images",)  # decide in stage DEEP where there is dual prior preservation
# Settings that decide how far and how fast a stage is trained, but not what a step does.
NOT_DECIDING = ("strategy", "embedding_steps", "layer_steps", "deep_steps", "gradient_checkpointing")


def run_fields(
    model: ARModel,
    subject: Subject,
    settings: TrainingSettings,
    stage: str,
    start: Personalization | None,
    *,
    earlier: bool = False,
) -> dict[str, object]:
    """What determines the run of a stage: neither steps nor names nor what is shown meanwhile.

    `earlier`: as versions before 0.2 had it, where prior preservation was a part of stage 1.
    """
    if settings.prior_preservation and stage not in PRIOR_STAGES and not earlier:
        recipe = model.family.recipe
        settings = replace(
            settings, prior_preservation=False, prior_weight=recipe.prior_weight, prior_images=recipe.prior_images
        )
    fields: dict[str, object] = {
        "base": model.fingerprint,
        "photos": subject.source,
        "class": subject.class_name,
        "size": list(subject.size),
        "stage": stage,
        "settings": deciding_settings(settings, stage),
        "start": None,
    }
    if start is not None:
        fields["start"] = tensor_hash(start.concept)
    fields |= sidecar_fields(subject, settings)
    if model.transformer.quantized:  # came later: a base that is not quantised has no such field
        fields["weights"] = model.transformer.quantized
    return fields


def sidecar_fields(subject: Subject, settings: TrainingSettings) -> dict[str, object]:
    """What masks and captions decide. They came later: a subject without them has no such field."""
    fields: dict[str, object] = {}
    if subject.masks is not None and settings.background_weight != 1:
        fields["masks"] = subject.masks.source
        fields |= {name: getattr(settings, name) for name in WITH_MASKS}
    if subject.captions:
        fields["captions"] = list(subject.captions)
    return fields


def deciding_settings(settings: TrainingSettings, stage: str) -> dict[str, object]:
    """The settings that decide the outcome of `stage`; a change to any other must not train again."""
    values = {name: getattr(settings, name) for name in DECIDING[stage]}
    if settings.method == "full":
        values.pop("rank", None)  # of the LoRA
    for name, before in ADDED[stage].items():
        value = getattr(settings, name)
        if value != before:
            values[name] = value
    if stage == DEEP and settings.dual_prior_weight:
        values |= {name: getattr(settings, name) for name in WITH_DUAL_PRIOR}
    return values
