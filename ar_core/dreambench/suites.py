"""The suites that can be benchmarked: DreamBench itself, the drawn subjects that ship, and a user's own folder.

A suite is a folder in DreamBench's layout and what has to be known beside it: which classes are live, how much it
should hold, and what is compared on it unless asked otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shipped import example_subjects
from .dataset import DataSet, read_dataset
from .encoders import MINIATURE_ENCODERS, PAPER_ENCODERS, EncoderChoice

DREAMBENCH = "DreamBench"  # the title of the real data set
DRAWINGS = "miniature"  # what `--data` takes instead of a folder
DREAMBENCH_LIVE = ("cat", "dog")  # google/dreambooth
DRAWN_LIVE = ("dog", "cat", "bear", "rabbit", "duck", "robot")  # these have a face and can wear things


@dataclass(frozen=True)
class Suite:
    """A data set and how it is used.

    `live_classes` get the list of live prompts. `subjects`, `prompts`: how many subjects, and prompts of each kind,
    there should be; None where any number is right. `advice` is given where something is missing. `variants`, `seeds`:
    what is compared unless asked otherwise. `spread`: the subjects that are trained with every seed, all where None;
    the others, with the first.
    """

    title: str
    folder: Path
    live_classes: tuple[str, ...]
    encoders: EncoderChoice
    advice: str
    subjects: int | None = None
    prompts: int | None = None
    variants: tuple[str, ...] = ("two_stage",)
    seeds: tuple[int, ...] = (0,)
    spread: tuple[str, ...] | None = None

    def read(self, only: Collection[str] | None = None) -> DataSet:
        """Subjects and prompts; of some subjects only, where given, which saves reading the others' photos.

        Raises DataSetError where nothing can be scored, and for a subject that there is not.
        """
        return read_dataset(self.folder, self.live_classes, self.subjects, self.prompts, self.advice, only)


def drawn_suite() -> Suite:
    """The drawn subjects that ship, for the miniature."""
    return Suite(
        "the drawn subjects",
        example_subjects(),
        DRAWN_LIVE,
        MINIATURE_ENCODERS,
        "They ship with this software: install it again.",
        subjects=8,
        prompts=10,
        variants=(
            "two_stage",
            "two_stage_full",
            "embedding_only",
            "joint",
            "joint_long",
            "joint_reverted",
            "base",
        ),
        seeds=(0, 1, 2),
        spread=("purple_mug", "red_backpack", "cream_cat", "mint_robot"),
    )


def dreambench_suite(folder: Path) -> Suite:
    """The user's copy of the real data set, which has 30 subjects and 25 prompts of each kind."""
    advice = "Give a whole copy of the folder `dataset` of the google/dreambooth repository."
    return Suite(DREAMBENCH, folder, DREAMBENCH_LIVE, PAPER_ENCODERS, advice, subjects=30, prompts=25)


def own_suite(folder: Path, live_classes: Sequence[str]) -> Suite:
    """A user's own subjects and prompts in DreamBench's layout."""
    advice = "Lay it out like the folder `dataset` of the google/dreambooth repository."
    return Suite(folder.name, folder, tuple(live_classes), PAPER_ENCODERS, advice)


def choose_suite(data: Path | str, live_classes: Sequence[str] | None = None) -> Suite:
    """The suite that `--data` and `--live-classes` name: "miniature", or a folder.

    A folder is taken for a copy of DreamBench unless its live classes are given, or it is that of the drawn subjects.
    """
    if str(data) == DRAWINGS or Path(data).resolve() == example_subjects().resolve():
        return drawn_suite()
    if live_classes is not None:
        return own_suite(Path(data), live_classes)
    return dreambench_suite(Path(data))
