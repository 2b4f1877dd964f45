"""`ar-personalize personalize`: learn one subject from its photos."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..families.miniature import MINIATURE
from ..photos import read_photos
from ..training import StageResult, TrainingSettings, personalize, prepare_subject
from ..training.loop import mean_of_last_losses
from .interruption import Interruption
from .options import add_settings, chosen_settings, image_size
from .output import FileOrFolder, subject_file, try_writing
from .shared import Bar, load_model_from_options, model_options, note_size, print_option_values


def add_options(command: argparse.ArgumentParser) -> None:
    model_options(command)
    command.add_argument(
        "--photos", type=Path, required=True, nargs="+", help="folder with photos of one subject, or several files"
    )
    command.add_argument("--class-name", required=True, help='the word for what they show, e.g. "dog"')
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
    add_settings(command, TrainingSettings)


def run(options: argparse.Namespace) -> None:
    photos, report = read_photos(options.photos[0] if len(options.photos) == 1 else options.photos)
    print("\n".join(report))
    model = load_model_from_options(options)
    settings = TrainingSettings.resolve(model.family, **chosen_settings(options, TrainingSettings))
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
    out = subject_file(options.out, options.out_is_folder, options.class_name)
    try_writing(out)  # what cannot be written is said before hours of training
    runs = options.runs or out.parent / "_runs"
    bar = Bar()
    cancel = Interruption()
    subject = prepare_subject(model, photos, options.class_name, size, runs=runs, progress=bar, cancel=cancel)
    results = personalize(model, subject, settings, runs, identifier=options.identifier, progress=bar, cancel=cancel)
    for result in results:
        print(describe_stage(result))
    path, written = results[-1].personalization.save_beside(out)
    done = f"{path} already holds this subject; nothing was written."
    if written:
        done = f"wrote {path} ({path.stat().st_size / 2**20:.2f} MiB)."
    print(f"{done} Trainings are remembered in {runs}.")


def describe_stage(result: StageResult) -> str:
    """One line about a finished stage."""
    text = f"{result.personalization.recipe['stage']}: {result.step} steps, {result.note}"
    if result.losses:
        text += f"; loss {result.losses[0]:.3f} -> {mean_of_last_losses(result.losses):.3f}"
    return text
