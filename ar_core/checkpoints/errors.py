"""What is raised for a model's files."""

from __future__ import annotations


class CheckpointError(ValueError):
    """Files that cannot be loaded; the message names the file, what was expected, and what to do."""
