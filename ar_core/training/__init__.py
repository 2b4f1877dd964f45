"""Learning one subject: settings -> stages -> the loop, remembered on disk."""

from .settings import STRATEGIES, TrainingSettings
from .stages import StageResult, personalize
from .subject import Subject, prepare_subject

__all__ = ["STRATEGIES", "StageResult", "Subject", "TrainingSettings", "personalize", "prepare_subject"]
