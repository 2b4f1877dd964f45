"""Personalize the auto-regressive text-to-image model Lumina-mGPT: learn a subject, sample it.

This is the engine; it works without ComfyUI. `ar-personalize --help` shows its command line.
"""

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
