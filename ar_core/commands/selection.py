"""`--select`: which step of a training is handed on, and the table by which the best was chosen."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..control import Cancel, Progress
from ..dreambench.encoders import Encoders
from ..dreambench.step_judge import StepJudge
from ..families.family import Family
from ..files import UnreadableFile, numbered_paths, read_text, write_numbered, write_text
from ..photos import Photo
from ..training.best_step import BEST, LAST, Choice, Select, StepTable, read_select
from .likeness import encoders_for_samples

TABLE = ".steps.csv"  # behind the personalization's name


def select_option(command: argparse.ArgumentParser) -> None:
    """The option `--select`; `chosen_select` reads it."""
    command.add_argument(
        "--select",
        type=_select,
        metavar="last|best|STEP",
        help="the step of the last stage that is handed on: the last, a kept one, or of the kept ones the best by "
        "likeness and prompt following of a few pictures (default: last)",
    )


def chosen_select(options: argparse.Namespace) -> Select:
    """What the option says; it is None where it was not given, so that settings files stay as they were."""
    return options.select or LAST


def _select(text: str) -> Select:
    try:
        return read_select(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def selecting_encoders(select: Select, options: argparse.Namespace, family: Family) -> Encoders | None:
    """What the best step is chosen by; None where another is asked for. Raises ValueError and EncoderError."""
    if select != BEST:
        return None
    encoders = encoders_for_samples(options, family)
    if encoders is None:
        raise ValueError(
            "--select best needs encoders that compare pictures with photos and prompts: add --dino with the folder "
            "of DINO ViT-S/16 and --clip with that of CLIP ViT-B/32. Only the miniature has its own."
        )
    return encoders


def chosen_step(
    select: Select,
    encoders: Encoders | None,
    photos: Sequence[Photo],
    prompts: Sequence[str],
    progress: Progress,
    cancel: Cancel,
) -> Choice:
    """What chooses the step to hand on; `prompts`: ours where there are none."""
    judge = None
    if encoders is not None:
        judge = StepJudge(encoders, photos)
    return Choice(select, judge, prompts, progress, cancel)


def leave_table(table: StepTable, taken: int, path: Path) -> str:
    """Print a table, leave it beside the personalization at `path`, and say where; other files of that name stay."""
    print(table.as_markdown(taken))
    text = table.as_csv(taken)
    place = path.with_suffix(TABLE)
    for earlier in itertools.takewhile(os.path.lexists, numbered_paths(place)):
        with suppress(UnreadableFile, OSError):
            if read_text(earlier).strip() == text.strip():
                return f"{earlier} already holds exactly this table"
    return f"wrote {write_numbered(place, partial(write_text, text=text, replace=False))}"
