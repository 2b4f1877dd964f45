"""`ar-personalize personalize`: learn one subject from its photos."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..control import Cancel, Progress
from ..families.miniature import MINIATURE
from ..model import ARModel
from ..photos import read_photos
from ..text import check_class_name, check_identifier_name
from ..training import StageResult, Subject, TrainingSettings, personalize, prepare_subject
from ..training.log_folder import TrainingLog
from ..training.loop import mean_of_last_losses
from ..training.stages import check_photo_tokens, check_style
from ..training.templates import read_templates
from .interruption import Interruption
from .options import add_settings, chosen_settings, image_size
from .output import FileOrFolder, subject_file, try_writing
from .shared import Bar, check_rank, load_model_from_options, model_options, note_size, print_option_values
from .training_log import (
    check_log_options,
    check_validation_prompts,
    chosen_log,
    draws_samples,
    log_options,
)


def add_options(command: argparse.ArgumentParser) -> None:
    model_options(command)
    command.add_argument(
        "--photos", type=Path, required=True, nargs="+", help="folder with photos of one subject, or several files"
    )
    command.add_argument("--class-name", required=True, help='the word for what they show, e.g. "dog"; "" for a style')
    command.add_argument("--identifier", default="[V]", help="name of the subject in prompts (default: %(default)s)")
    command.add_argument(
        "--out",
        action=FileOrFolder,
        required=True,
        help="the .safetensors file to write, or a folder (one that is not there yet: subjects/); nothing is "
        "overwritten, others get a number",
    )
    command.add_argument("--runs", type=Path, help="where trainings are remembered (default: _runs beside --out)")
    command.add_argument(
        "--size",
        type=image_size,
        metavar="WIDTHxHEIGHT",
        help="of the photos, snapped to the nearest that the model knows (default: the recipe's)",
    )
    log_options(command)
    add_settings(command, TrainingSettings)


def run(options: argparse.Namespace) -> None:
    check_log_options(options)
    photos, report = read_photos(options.photos[0] if len(options.photos) == 1 else options.photos)
    print("\n".join(report))
    model = load_model_from_options(options)
    settings = resolved_settings(options, model)
    print_option_values("training", settings.describe())
    recipe = model.family.recipe
    width, height = recipe.learned_size
    print(f"recipe: {options.recipe}; {recipe.views} views of each photo, {width}x{height} without --size")
    if model.family.name == MINIATURE.name:
        print(
            "note: the miniature only knows drawn scenes; it can learn a photograph, but draws it as a drawing at best."
        )
    size = None
    if options.size:
        size = model.family.snap(*options.size)
        note_size(model.family, options.size)
    check_photo_tokens(model, settings, len(photos))
    check_style(check_class_name(options.class_name, style=True), settings)
    out = subject_file(options.out, options.out_is_folder, options.class_name)
    try_writing(out)  # what cannot be written is said before hours of training
    runs = options.runs or out.parent / "_runs"
    check_validation_prompts(options, model, settings.vectors, size)
    bar = Bar()
    log = chosen_log(options, model, photos, runs, bar)
    cancel = Interruption()
    subject = prepare_subject(model, photos, options.class_name, size, runs=runs, progress=bar, cancel=cancel)
    results = learn(options, model, subject, settings, runs, bar, cancel, log)
    for result in results:
        print(describe_stage(result))
    path, written = results[-1].personalization.save_beside(out)
    done = f"{path} already holds this subject; nothing was written."
    if written:
        done = f"wrote {path} ({path.stat().st_size / 2**20:.2f} MiB)."
    print(f"{done} Trainings are remembered in {runs}.")


def resolved_settings(options: argparse.Namespace, model: ARModel) -> TrainingSettings:
    """The settings of the options, with the templates of the file that --templates names."""
    chosen = chosen_settings(options, TrainingSettings)
    if options.templates is not None:
        identifier = check_identifier_name(options.identifier)
        class_name = check_class_name(options.class_name, style=True)
        size = model.family.recipe.learned_size
        chosen["templates"] = read_templates(options.templates, model.protocol, size, identifier, class_name)
    check_rank(options, model)
    return TrainingSettings.resolve(model.family, **chosen)


def learn(
    options: argparse.Namespace,
    model: ARModel,
    subject: Subject,
    settings: TrainingSettings,
    runs: Path,
    progress: Progress,
    cancel: Cancel,
    log: TrainingLog | None,
) -> list[StageResult]:
    """Train all stages; what is known of them is logged however this ends."""
    if log is None:
        return personalize(
            model, subject, settings, runs, identifier=options.identifier, progress=progress, cancel=cancel
        )
    samples = None if draws_samples(options) else 0
    try:
        return personalize(
            model,
            subject,
            settings,
            runs,
            identifier=options.identifier,
            progress=log.progress,
            cancel=cancel,
            samples=samples,
            on_sample=log.sample,
            on_stage=log.begin,
            every=options.sample_every,
            prompts=options.validation_prompt,
        )
    finally:
        log.end()


def describe_stage(result: StageResult) -> str:
    """One line about a finished stage."""
    text = f"{result.personalization.recipe['stage']}: {result.step} steps, {result.note}"
    if result.losses:
        text += f"; loss {result.losses[0]:.3f} -> {mean_of_last_losses(result.losses):.3f}"
    return text
