"""`python -m ar_core demo`: the whole job on the miniature, and pictures of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from ..control import Progress
from ..model import ARModel
from ..personalization import Personalization
from ..photos import Photo, centre_crop, read_photos, unstack
from ..sampling import SamplingSettings
from ..sheets import grid, loss_curves
from ..training import TrainingSettings, personalize, prepare_subject
from .shared import Bar

EXAMPLE = Path(__file__).parents[2] / "example_subjects" / "lilac_dog"  # the miniature has never seen this dog
PROMPTS = ("a photo of [V] {} on the beach", "a photo of [V] {} in the snow", "a photo of [V] {} in the garden")
CELL = 256
SEED = 1
NOTE = "Made by the miniature, a small model of drawn scenes that ships with the software. Same prompt and same seed in every row."


def run(photos: Path | None, class_name: str, out: Path, progress: Progress) -> None:
    """Personalize one subject with every strategy; leave result.png, strategies.png and losses.png in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    pictures, report = read_photos(photos or EXAMPLE)
    print("\n".join(report))
    model = ARModel.load()
    subject = prepare_subject(model, pictures, class_name, runs=out / "_runs", progress=progress)
    learned, curves = {}, {}
    for strategy in ("two_stage", "joint"):
        settings = TrainingSettings.resolve(model.family, strategy=strategy)
        for result in personalize(model, subject, settings, out / "_runs", progress=progress):
            stage = result.personalization.recipe["stage"]
            print(
                f"{stage}: {result.step} steps, {result.note}, loss {result.losses[0]:.3f} -> {result.losses[-1]:.3f}"
            )
            learned[stage], curves[stage] = result.personalization, result.losses
    learned["layers"].save(out / "subject.safetensors")

    samples = Sampler(model, [prompt.format(class_name) for prompt in PROMPTS], progress)
    before = samples.of(learned["layers"], strength=0.0)
    columns = {
        "before": before,
        "embedding only": samples.of(learned["embedding"]),
        "joint": samples.of(learned["joint"]),
        "two-stage": samples.of(learned["layers"]),
    }
    save_sheet(out / "result.png", pictures, {"before": before, "after": columns["two-stage"]}, samples.prompts)
    save_sheet(out / "strategies.png", pictures, columns, samples.prompts)
    loss_curves(curves).save(out / "losses.png")
    print(f"Look at {out / 'result.png'}, {out / 'strategies.png'} and {out / 'losses.png'}.")


class Sampler:
    """Samples the same prompts with the same seed from one base under different personalizations."""

    def __init__(self, model: ARModel, prompts: list[str], progress: Progress):
        self.model, self.prompts, self.progress = model, prompts, progress
        self.settings = SamplingSettings.resolve(model.family, seed=SEED)

    def of(self, personalization: Personalization, strength: float = 1.0) -> list[Image.Image]:
        images = self.model.personalized(personalization, strength).generate(
            self.prompts, self.settings, progress=self.progress
        )
        return [unstack(image.images)[0] for image in images]


def save_sheet(path: Path, photos: list[Photo], columns: dict[str, list[Image.Image]], prompts: list[str]) -> None:
    """One row per prompt: a photo, then each column's picture."""
    shown = [centre_crop(photo.image, (CELL, CELL)) for photo in photos]
    rows = [[shown[i % len(shown)], *(pictures[i] for pictures in columns.values())] for i in range(len(prompts))]
    grid(rows, cell=CELL, columns=["photos", *columns], labels=prompts, note=NOTE).save(path)


def run_demo(options: argparse.Namespace) -> None:
    run(options.photos, options.class_name, options.out, Bar())
