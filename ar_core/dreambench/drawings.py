"""The drawn data set: what its benchmark asks for and how it is read. `python -m workshop.world.bench_data` draws it."""

from __future__ import annotations

from pathlib import Path

from .dataset import PROMPT_FILE, DataSet, DataSetError, read_dataset

NAME = "miniature"  # what `--data` takes instead of a folder
COMPARED = (
    "two_stage",
    "two_stage_full",
    "embedding_only",
    "joint",
    "joint_long",
    "joint_reverted",
    "base",
)  # the page's ways
LIVE_CLASSES = ("dog", "cat", "bear", "rabbit", "duck", "robot")  # these have a face and can wear things
_PLACES = ("in the jungle", "in the snow", "on the beach", "in space", "in the city", "in the kitchen")
_COLOURS = ("a yellow {0} {1}", "a blue {0} {1}")
OBJECT_PROMPTS = (*(f"a {{0}} {{1}} {place}" for place in (*_PLACES, "on a wooden floor", "under water")), *_COLOURS)
LIVE_PROMPTS = (
    *(f"a {{0}} {{1}} {place}" for place in _PLACES),
    "a {0} {1} wearing a red hat",
    "a {0} {1} wearing a blue scarf",
    *_COLOURS,
)


def read_drawings(folder: Path) -> DataSet:
    """The drawn data set in `folder`. Raises DataSetError where it has not been drawn yet."""
    if not (folder / PROMPT_FILE).is_file():
        raise DataSetError(
            f"There are no drawn subjects in {folder}. Draw them: python -m workshop.world.bench_data --out {folder}"
        )
    return read_dataset(folder, live_classes=LIVE_CLASSES)
