"""The drawn data set that ships in example_subjects/, in the layout of DreamBench:

    python -m workshop.world.bench_data --out example_subjects

Subjects are those of `subjects.py`, which no training saw. Prompts ask for places, for accessories (of figures) and for
another colour, in words that the miniature knows.

`--tuning` draws the subjects on which choices are made, so that they can be compared like any others:

    python -m workshop.world.bench_data --tuning --out runs/tuning
    python -m ar_core dreambench --data runs/tuning --live-classes dog,cat,bear,rabbit,duck,robot --encoders miniature
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from ar_core.dreambench.dataset import PROMPT_FILE
from ar_core.files import write_image, write_text

from .scenes import Subject
from .subjects import SUBJECTS, drawn_photos
from .tuning_subjects import TUNING

_PLACES = ("in the jungle", "in the snow", "on the beach", "in space", "in the city", "in the kitchen")
_COLOURS = ("a yellow {0} {1}", "a blue {0} {1}")
OBJECT_PROMPTS = (*(f"a {{0}} {{1}} {place}" for place in (*_PLACES, "on a wooden floor", "under water")), *_COLOURS)
LIVE_PROMPTS = (
    *(f"a {{0}} {{1}} {place}" for place in _PLACES),
    "a {0} {1} wearing a red hat",
    "a {0} {1} wearing a blue scarf",
    *_COLOURS,
)


def draw_data_set(folder: Path, subjects: Mapping[str, Subject] = SUBJECTS) -> None:
    """Draw all photos into `folder` and write the prompts."""
    for name in subjects:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, (image, scene) in enumerate(drawn_photos(name), 1):
            write_image(folder / name / f"{number:02d}_{scene.place}.png", image)
    write_text(folder / PROMPT_FILE, prompt_file(subjects))


def prompt_file(subjects: Mapping[str, Subject] = SUBJECTS) -> str:
    """prompts_and_classes.txt, as the google/dreambooth repository writes it."""
    classes = [f"{name},{subject.kind}" for name, subject in subjects.items()]
    blocks = []
    for title, prompts in (("Object Prompts", OBJECT_PROMPTS), ("Live Subject Prompts", LIVE_PROMPTS)):
        lines = [f"'{prompt}'.format(unique_token, class_token)," for prompt in prompts]
        blocks += [title, "", "prompt_list = [", *lines, "]", ""]
    return "\n".join(["Classes", "", "subject_name,class", *classes, "", "Prompts", "", *blocks])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.world.bench_data", description="Draw the data set: photos and prompts."
    )
    parser.add_argument("--out", type=Path, default=Path("example_subjects"), help="default: %(default)s")
    parser.add_argument("--tuning", action="store_true", help="the subjects on which choices are made instead")
    options = parser.parse_args()
    subjects = TUNING if options.tuning else SUBJECTS
    draw_data_set(options.out, subjects)
    print(f"{options.out}: {len(subjects)} subjects")


if __name__ == "__main__":
    main()
