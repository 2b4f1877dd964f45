"""The miniature's own DreamBench: drawn subjects and prompts, written in the layout of the real data set.

Subjects are those of `subjects.py`, which no training saw. Prompts ask for places, for accessories (of figures) and for
another colour, in words that the miniature knows.
"""

from __future__ import annotations

from pathlib import Path

from ..dreambench.dataset import PROMPT_FILE, DataSet, read_dataset
from .scenes import FIGURES, PLACES
from .subjects import SUBJECTS, photos_of

NAME = "miniature"  # what `--data` takes instead of a folder
COMPARED = ("two_stage", "two_stage_full", "embedding_only", "joint", "joint_long", "joint_reverted", "base")  # the page's ways
_PLACES = ("jungle", "snow", "beach", "space", "city", "kitchen")
_COLOURS = ("a yellow {0} {1}", "a blue {0} {1}")
OBJECT_PROMPTS = (*(f"a {{0}} {{1}} {PLACES[place]}" for place in (*_PLACES, "floor", "water")), *_COLOURS)
LIVE_PROMPTS = (
    *(f"a {{0}} {{1}} {PLACES[place]}" for place in _PLACES), "a {0} {1} wearing a red hat", "a {0} {1} wearing a blue scarf", *_COLOURS,
)  # fmt: skip


def drawn_dataset(folder: Path) -> DataSet:
    """Draw the data set into `folder` (files that are there already stay) and read it."""
    for name in SUBJECTS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        if len(list((folder / name).glob("*.png"))) < 5:
            for number, (image, _) in enumerate(photos_of(name)):
                path = folder / name / f"{number:02d}.png"
                image.save(path.with_suffix(".partial"), format="PNG")
                path.with_suffix(".partial").replace(path)
    (folder / PROMPT_FILE).write_text(prompt_file(), encoding="utf-8")
    return read_dataset(folder, live_classes=FIGURES)


def prompt_file() -> str:
    classes = [f"{name},{subject.kind}" for name, subject in SUBJECTS.items()]
    blocks = []
    for title, prompts in (("Object Prompts", OBJECT_PROMPTS), ("Live Subject Prompts", LIVE_PROMPTS)):
        lines = [f"'{prompt}'.format(unique_token, class_token)," for prompt in prompts]
        blocks += [title, "", "prompt_list = [", *lines, "]", ""]
    return "\n".join(["Classes", "", "subject_name,class", *classes, "", "Prompts", "", *blocks])
