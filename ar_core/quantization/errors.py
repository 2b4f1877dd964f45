"""What a precision raises."""

from __future__ import annotations


class QuantizationError(ValueError):
    """A precision that cannot be had here; the message says what to do."""
