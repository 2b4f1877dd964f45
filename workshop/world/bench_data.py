"""The miniature's own DreamBench: drawn subjects and prompts, written in the layout of the real data set:

    python -m workshop.world.bench_data --out dreambench/data

Subjects are those of `subjects.py`, which no training saw. Prompts ask for places, for accessories (of figures) and for
another colour, in words that the miniature knows (`ar_core/dreambench/drawings.py`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ar_core.dreambench.dataset import PROMPT_FILE, DataSet
from ar_core.dreambench.drawings import LIVE_PROMPTS, OBJECT_PROMPTS, read_drawings
from ar_core.files import write_image, write_text

from .subjects import SUBJECTS, photos_of


def drawn_dataset(folder: Path) -> DataSet:
    """Draw the data set into `folder` (files that are there already stay) and read it."""
    for name in SUBJECTS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        if len(list((folder / name).glob("*.png"))) < 5:
            for number, (image, _) in enumerate(photos_of(name)):
                write_image(folder / name / f"{number:02d}.png", image)
    write_text(folder / PROMPT_FILE, prompt_file())
    return read_drawings(folder)


def prompt_file() -> str:
    classes = [f"{name},{subject.kind}" for name, subject in SUBJECTS.items()]
    blocks = []
    for title, prompts in (("Object Prompts", OBJECT_PROMPTS), ("Live Subject Prompts", LIVE_PROMPTS)):
        lines = [f"'{prompt}'.format(unique_token, class_token)," for prompt in prompts]
        blocks += [title, "", "prompt_list = [", *lines, "]", ""]
    return "\n".join(["Classes", "", "subject_name,class", *classes, "", "Prompts", "", *blocks])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.world.bench_data", description="Draw the data set: photos and prompts."
    )
    parser.add_argument("--out", type=Path, required=True, help="`data` below the --out of the benchmark")
    data = drawn_dataset(parser.parse_args().out)
    print(f"{data.folder}: {len(data.subjects)} subjects")


if __name__ == "__main__":
    main()
