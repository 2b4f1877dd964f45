"""Where the data lies that ships beside the engine: in the repository's root, or inside an installed package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def example_subjects() -> Path:
    """Drawn photos of eight subjects and prompts for them, in DreamBench's layout."""
    return _shipped("example_subjects")


def learned_subjects() -> Path:
    """Personalizations of two of them, learned on the miniature."""
    return _shipped("learned_subjects")


def _shipped(name: str) -> Path:
    installed = PACKAGE / name
    if installed.is_dir():
        return installed
    return PACKAGE.parent / name
