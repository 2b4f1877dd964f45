"""`ar-personalize demo`: the whole job on the miniature, and pictures of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from ..control import Cancel, Progress
from ..files import write_image, write_numbered
from ..model import ARModel
from ..personalization import Personalization
from ..photos import Photo, centre_crop, read_photos, unstack
from ..sampling import SamplingSettings
from ..sheets import loss_curves, picture_grid
from ..shipped import example_subjects
from ..training import TrainingSettings, personalize, prepare_subject
from .interruption import Interruption
from .output import try_writing
from .shared import Bar

EXAMPLE = "lilac_dog"  # not among the miniature's training scenes
PROMPTS = ("a photo of [V] {} on the beach", "a photo of [V] {} in the snow", "a photo of [V] {} in the garden")
CELL = 256  # pixels
SEED = 1
NOTE = (
    "Made by the miniature, a small model of drawn scenes that ships with the software. "
    "Same prompt and same seed in every row."
)


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for the pictures (default: %(default)s)"
    )
    command.add_argument("--photos", type=Path, help="folder with photos of one subject (default: a drawn dog)")
    command.add_argument("--class-name", default="dog", help="the word for what they show (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    folder = options.photos or example_subjects() / EXAMPLE
    demonstrate(folder, options.class_name, options.out, Bar(), Interruption())


def demonstrate(folder: Path, class_name: str, out: Path, progress: Progress, cancel: Cancel) -> None:
    """Personalize one subject with every strategy; leave result.png, strategies.png and losses.png in `out`.

    Pictures of an earlier call stay, these get a number then.
    """
    try_writing(out / "result.png")  # what cannot be written is said before minutes of training
    photos, report = read_photos(folder)
    print("\n".join(report))
    model = ARModel.load()
    subject = prepare_subject(model, photos, class_name, runs=out / "_runs", progress=progress, cancel=cancel)
    learned: dict[str, Personalization] = {}  # by stage
    losses: dict[str, Sequence[float]] = {}
    for strategy in ("two_stage", "joint"):
        settings = TrainingSettings.resolve(model.family, strategy=strategy)
        for result in personalize(model, subject, settings, out / "_runs", progress=progress, cancel=cancel):
            stage = str(result.personalization.recipe["stage"])
            change = f"loss {result.losses[0]:.3f} -> {result.losses[-1]:.3f}"
            print(f"{stage}: {result.step} steps, {result.note}, {change}")
            learned[stage] = result.personalization
            losses[stage] = result.losses
    learned["layers"].save_beside(out / "subject.safetensors")

    prompts = [prompt.format(class_name) for prompt in PROMPTS]
    before = sample_prompts(model.personalized(learned["layers"], strength=0.0), prompts, progress, cancel)
    columns = {
        "before": before,
        "embedding only": sample_prompts(model.personalized(learned["embedding"]), prompts, progress, cancel),
        "joint": sample_prompts(model.personalized(learned["joint"]), prompts, progress, cancel),
        "two-stage": sample_prompts(model.personalized(learned["layers"]), prompts, progress, cancel),
    }
    pictures = {
        "result.png": sheet(photos, {"before": before, "after": columns["two-stage"]}, prompts),
        "strategies.png": sheet(photos, columns, prompts),
        "losses.png": loss_curves(losses),
    }
    written = []
    for name, image in pictures.items():
        written.append(write_numbered(out / name, partial(write_image, image=image, replace=False)))
    print(f"Look at {written[0]}, {written[1]} and {written[2]}.")


def sample_prompts(model: ARModel, prompts: Sequence[str], progress: Progress, cancel: Cancel) -> list[Image.Image]:
    """One picture per prompt, always from the same seed."""
    settings = SamplingSettings.resolve(model.family, seed=SEED)
    generated = model.generate(prompts, settings, progress=progress, cancel=cancel)
    return [unstack(image.images)[0] for image in generated]


def sheet(photos: Sequence[Photo], columns: Mapping[str, Sequence[Image.Image]], prompts: Sequence[str]) -> Image.Image:
    """One row per prompt: a photo, then each column's picture."""
    cells = []
    for number in range(len(prompts)):
        photo = photos[number % len(photos)]
        row = [centre_crop(photo.image, (CELL, CELL))]
        row += [pictures[number] for pictures in columns.values()]
        cells.append(row)
    return picture_grid(cells, cell=CELL, columns=["photos", *columns], labels=prompts, note=NOTE)
