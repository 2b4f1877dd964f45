"""The options of `personalize` that show what a training does on the way: losses, pictures, how alike they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..control import Progress
from ..families.protocol import Size
from ..model import ARModel
from ..photos import Photo
from ..text import Identifier, check_class_name, check_identifier_name, resolve_prompt
from ..training.best_step import BEST, LAST
from ..training.log_folder import LOSSES, TrainingLog, nothing_measured
from ..training.sample_prompts import SLOT, subject_prompts
from .likeness import Likeness, encoders_for_samples
from .output import try_writing

MOST = 10**6  # steps


def log_options(command: argparse.ArgumentParser) -> None:
    """Where and what is logged; `TrainingLog`s are made of them by `chosen_log`."""
    command.add_argument(
        "--log",
        type=Path,
        metavar="DIR",
        help="a folder for losses.jsonl, samples.jsonl and pictures of each stage, also of what is remembered",
    )
    command.add_argument(
        "--sample-every",
        type=int,
        metavar="N",
        help="keep the result of every N steps, draw pictures there into --log, and choose among them for --select",
    )
    command.add_argument(
        "--validation-prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help='what these pictures show, e.g. "a photo of {} in the snow", with {} or "[V] dog" for the subject; may be '
        "repeated (default: the subject on a beach, and five others for --select best). Without --sample-every they "
        "are drawn wherever a result is kept anyway",
    )
    command.add_argument(
        "--tensorboard", action="store_true", help="also write --log for TensorBoard, with the package tensorboard"
    )
    command.add_argument(
        "--dino",
        help="folder of DINO ViT-S/16, to measure how alike these pictures are (the miniature has its own)",
    )
    command.add_argument("--clip", help="folder of CLIP ViT-B/32, for the same")


def draws_samples(options: argparse.Namespace) -> bool:
    """Whether pictures are drawn on the way."""
    return options.sample_every is not None or bool(options.validation_prompt)


def check_log_options(options: argparse.Namespace) -> None:
    """Raise ValueError for what cannot be meant."""
    needs_folder = {
        "--sample-every": options.sample_every and options.select in (None, LAST),
        "--validation-prompt": options.validation_prompt and options.select != BEST,
        "--tensorboard": options.tensorboard,
    }
    for option, needed in needs_folder.items():
        if needed and options.log is None:
            raise ValueError(f"{option} needs a folder to write to: add --log DIR.")
    if options.sample_every is not None and not 1 <= options.sample_every <= MOST:
        raise ValueError(f"--sample-every is {options.sample_every}; it must be from 1 to {MOST}.")


def validation_prompts(options: argparse.Namespace, model: ARModel, vectors: int, size: Size | None) -> tuple[str, ...]:
    """The prompts that were given, with the subject's name in them.

    Raises TextError for one that cannot be drawn, or that does not name the subject where the best step is chosen by
    it: before photos are read and anything is trained.
    """
    name = check_identifier_name(options.identifier)
    class_name = check_class_name(options.class_name, style=True)
    named = [Identifier(name, class_name, model.protocol.identifier_base, vectors)]
    for prompt in options.validation_prompt:
        written = prompt.replace(SLOT, named[0].full_name)
        model.protocol.prompt(resolve_prompt(written, named), size or model.family.recipe.learned_size, named)
    return subject_prompts(options.validation_prompt, name, class_name, choosing=options.select == BEST)


def chosen_log(
    options: argparse.Namespace, model: ARModel, photos: Sequence[Photo], runs: Path, progress: Progress
) -> TrainingLog | None:
    """The log that the options ask for. Raises ValueError and OSError for one that cannot be.

    `runs`: where trainings are remembered, in folders of the same names.
    """
    if options.log is None:
        return None
    if options.log.resolve() == runs.resolve():
        raise ValueError(f"--log is {options.log}, where trainings are remembered. Give another folder.")
    try_writing(options.log / LOSSES)
    measure = nothing_measured
    if draws_samples(options):
        encoders = encoders_for_samples(options, model.family)
        if encoders is None:
            print("note: how alike pictures are is not measured without --dino and --clip.")
        else:
            measure = Likeness(encoders, photos, options.class_name)
    return TrainingLog(options.log, progress, measure, options.tensorboard)
