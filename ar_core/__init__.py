"""Personalize auto-regressive text-to-image models (Lumina-mGPT, Janus-Pro): learn a subject, sample it.

This is the engine; it works without ComfyUI. `ar-personalize --help` shows its command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .control import Cancelled
    from .model import ARModel, Generated
    from .personalization import Personalization
    from .photos import Photo, read_photos
    from .sampling import SamplingSettings
    from .training import StageResult, Subject, TrainingSettings, personalize, prepare_subject

__all__ = [
    "Cancelled",
    "Generated",
    "ARModel",
    "Personalization",
    "Photo",
    "SamplingSettings",
    "StageResult",
    "Subject",
    "TrainingSettings",
    "personalize",
    "prepare_subject",
    "read_photos",
]

# Where each name is. They are imported when they are first used: the command line is in this package, and torch, which
# takes seconds, must not be imported before it can answer Ctrl-C.
MODULES = {
    "Cancelled": "control",
    "Generated": "model",
    "ARModel": "model",
    "Personalization": "personalization",
    "Photo": "photos",
    "SamplingSettings": "sampling",
    "StageResult": "training",
    "Subject": "training",
    "TrainingSettings": "training",
    "personalize": "training",
    "prepare_subject": "training",
    "read_photos": "photos",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
