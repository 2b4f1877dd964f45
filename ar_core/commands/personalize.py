"""`ar-personalize personalize`: learn one subject from its photos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..families.miniature import MINIATURE
from ..model import ARModel
from ..text import check_class_name, check_identifier_name
from ..training import StageResult, Subject, TrainingSettings, personalize, prepare_subject
from ..training.best_step import Choice, check_select, select_among
from ..training.log_folder import TrainingLog
from ..training.loop import mean_of_last_losses
from ..training.settings import DEEP_SETTINGS
from ..training.stages import SELECTED, check_photo_tokens, check_style
from ..training.templates import read_templates
from .interruption import Interruption
from .options import add_settings, chosen_settings
from .output import FileOrFolder, subject_file, try_writing
from .photo_options import chosen_photos, chosen_size, note_masks, photo_options
from .selection import chosen_select, chosen_step, leave_table, select_option, selecting_encoders
from .shared import Bar, check_rank, load_model_from_options, model_options, print_option_values
from .training_log import (
    check_log_options,
    chosen_log,
    draws_samples,
    log_options,
    validation_prompts,
)


def add_options(command: argparse.ArgumentParser) -> None:
    model_options(command)
    photo_options(command)
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
    log_options(command)
    add_settings(command, TrainingSettings)
    select_option(command)


def run(options: argparse.Namespace) -> None:
    check_log_options(options)
    photos = chosen_photos(options)
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
    note_deep_settings(options, settings)
    note_masks(photos, settings, options.background_weight is not None)
    size = chosen_size(options, model.family, photos)
    check_photo_tokens(model, settings, len(photos))
    check_style(check_class_name(options.class_name, style=True), settings)
    out = subject_file(options.out, options.out_is_folder, options.class_name)
    try_writing(out)  # what cannot be written is said before hours of training
    runs = options.runs or out.parent / "_runs"
    prompts = validation_prompts(options, model, settings.vectors, size)
    check_select(chosen_select(options), settings, options.sample_every)
    select = select_among(chosen_select(options), settings, options.sample_every)
    if select != chosen_select(options):
        print("note: one step is kept, the last, so that none is chosen; --sample-every keeps more.")
    bar = Bar()
    log = chosen_log(options, model, photos, runs, bar)
    cancel = Interruption()
    choice = chosen_step(select, selecting_encoders(select, options, model.family), photos, prompts, bar, cancel)
    subject = prepare_subject(
        model,
        photos,
        options.class_name,
        size,
        runs=runs,
        progress=bar,
        cancel=cancel,
        identifier=check_identifier_name(options.identifier),
    )
    results = learn(model, subject, settings, runs, log, shown_and_kept(options, choice, log, prompts))
    for result in results:
        print(describe_stage(result))
    path, written = results[-1].personalization.save_beside(out)
    done = f"{path} already holds this subject; nothing was written."
    if written:
        done = f"wrote {path} ({path.stat().st_size / 2**20:.2f} MiB)."
    print(f"{done} Trainings are remembered in {runs}.")
    if choice.table is not None:
        print(leave_table(choice.table, results[-1].step, path))


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


def shown_and_kept(
    options: argparse.Namespace, choice: Choice, log: TrainingLog | None, prompts: Sequence[str]
) -> dict[str, Any]:
    """The keywords of `personalize` that the options decide."""
    keywords: dict[str, Any] = {
        "identifier": options.identifier,
        "progress": choice.progress,
        "cancel": choice.cancel,
        "every": options.sample_every,
        "choose": choice,
    }
    if log is not None:
        keywords |= {
            "progress": log.progress,
            "samples": None if draws_samples(options) else 0,
            "on_sample": log.sample,
            "on_stage": log.begin,
            "prompts": prompts,
        }
    return keywords


def note_deep_settings(options: argparse.Namespace, settings: TrainingSettings) -> None:
    """Say so where settings of a deep concept were given, and none is learned."""
    given = ["--" + name.replace("_", "-") for name in DEEP_SETTINGS if getattr(options, name) is not None]
    if given and not settings.is_deep:
        print(f"note: {settings.strategy} learns no deep concept, so nothing changes by {', '.join(given)}.")


def learn(
    model: ARModel,
    subject: Subject,
    settings: TrainingSettings,
    runs: Path,
    log: TrainingLog | None,
    keywords: dict[str, Any],
) -> list[StageResult]:
    """Train all stages; what is known of them is logged however this ends."""
    try:
        return personalize(model, subject, settings, runs, **keywords)
    finally:
        if log is not None:
            log.end()


def describe_stage(result: StageResult) -> str:
    """One line about a finished stage."""
    recipe = result.personalization.recipe
    text = f"{recipe['stage']}: {result.step} steps, {result.note}"
    if SELECTED in recipe:
        steps = ", ".join(map(str, recipe[SELECTED]["of"]))
        text += f", selected from {steps}"
    if result.losses:
        text += f"; loss {result.losses[0]:.3f} -> {mean_of_last_losses(result.losses):.3f}"
    return text
