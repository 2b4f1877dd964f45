"""From a prompt's token ids to image codes."""

from .settings import SamplingSettings

__all__ = ["SamplingSettings"]
