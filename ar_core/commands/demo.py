"""`ar-personalize demo`: the whole job on the miniature, and pictures of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from ..control import Progress
from ..files import ensure_folder, write_image
from ..model import ARModel
from ..personalization import Personalization
from ..photos import Photo, centre_crop, read_photos, unstack
from ..sampling import SamplingSettings
from ..sheets import loss_curves, picture_grid
from ..shipped import example_subjects
from ..training import TrainingSettings, personalize, prepare_subject
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
    demonstrate(options.photos or example_subjects() / EXAMPLE, options.class_name, options.out, Bar())


def demonstrate(folder: Path, class_name: str, out: Path, progress: Progress) -> None:
    """Personalize one subject with every strategy; leave result.png, strategies.png and losses.png in `out`."""
    ensure_folder(out)
    photos, report = read_photos(folder)
    print("\n".join(report))
    model = ARModel.load()
    subject = prepare_subject(model, photos, class_name, runs=out / "_runs", progress=progress)
    learned: dict[str, Personalization] = {}  # by stage
    losses: dict[str, Sequence[float]] = {}
    for strategy in ("two_stage", "joint"):
        settings = TrainingSettings.resolve(model.family, strategy=strategy)
        for result in personalize(model, subject, settings, out / "_runs", progress=progress):
            stage = str(result.personalization.recipe["stage"])
            change = f"loss {result.losses[0]:.3f} -> {result.losses[-1]:.3f}"
            print(f"{stage}: {result.step} steps, {result.note}, {change}")
            learned[stage] = result.personalization
            losses[stage] = result.losses
    learned["layers"].save(out / "subject.safetensors")

    prompts = [prompt.format(class_name) for prompt in PROMPTS]
    before = sample_prompts(model.personalized(learned["layers"], strength=0.0), prompts, progress)
    columns = {
        "before": before,
        "embedding only": sample_prompts(model.personalized(learned["embedding"]), prompts, progress),
        "joint": sample_prompts(model.personalized(learned["joint"]), prompts, progress),
        "two-stage": sample_prompts(model.personalized(learned["layers"]), prompts, progress),
    }
    save_sheet(out / "result.png", photos, {"before": before, "after": columns["two-stage"]}, prompts)
    save_sheet(out / "strategies.png", photos, columns, prompts)
    write_image(out / "losses.png", loss_curves(losses))
    print(f"Look at {out / 'result.png'}, {out / 'strategies.png'} and {out / 'losses.png'}.")


def sample_prompts(model: ARModel, prompts: Sequence[str], progress: Progress) -> list[Image.Image]:
    """One picture per prompt, always from the same seed."""
    settings = SamplingSettings.resolve(model.family, seed=SEED)
    generated = model.generate(prompts, settings, progress=progress)
    return [unstack(image.images)[0] for image in generated]


def save_sheet(
    path: Path, photos: Sequence[Photo], columns: Mapping[str, Sequence[Image.Image]], prompts: Sequence[str]
) -> None:
    """One row per prompt: a photo, then each column's picture."""
    cells = []
    for number in range(len(prompts)):
        photo = photos[number % len(photos)]
        row = [centre_crop(photo.image, (CELL, CELL))]
        row += [pictures[number] for pictures in columns.values()]
        cells.append(row)
    sheet = picture_grid(cells, cell=CELL, columns=["photos", *columns], labels=prompts, note=NOTE)
    write_image(path, sheet)
