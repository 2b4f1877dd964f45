"""`python -m ar_core personalize`: learn one subject from its photos."""

from __future__ import annotations

import argparse

from ..control import Progress
from ..families.lumina_mgpt import PAPER_RECIPE
from ..families.miniature import MINIATURE
from ..photos import read_photos
from ..training import TrainingSettings, personalize, prepare_subject
from ..training.loop import mean_of_last
from .shared import Bar, Interruption, load_model, print_values

TRAINING_OPTIONS = {
    "embedding_steps": int,
    "layer_steps": int,
    "embedding_learning_rate": float,
    "layer_learning_rate": float,
    "rank": int,
    "vectors": int,
    "batch_size": int,
    "micro_batch": int,
    "prior_weight": float,
    "prior_images": int,
}
SWITCHES = ("per_image_token", "prior_preservation", "gradient_checkpointing")


def run_personalize(options: argparse.Namespace) -> None:
    photos, report = read_photos(options.photos)
    print("\n".join(report))
    model = load_model(options)
    chosen = {name: getattr(options, name) for name in (*TRAINING_OPTIONS, "initialisation", *SWITCHES)}
    if options.recipe == "paper":
        chosen = paper_values(options.method) | {name: value for name, value in chosen.items() if value is not None}
    settings = TrainingSettings.resolve(
        model.family, strategy=options.strategy, method=options.method, seed=options.seed, **chosen
    )
    print_values("training", settings.describe())
    if model.family is MINIATURE:
        print(
            "note: the miniature only knows drawn scenes; photographs can be learned, but come back as drawings at best."
        )
    bar: Progress = Bar()
    cancel = Interruption()
    size = model.family.snap(*options.size) if options.size else None
    runs = options.runs or options.out.parent / "_runs"
    subject = prepare_subject(model, photos, options.class_name, size, runs=runs, progress=bar, cancel=cancel)
    for result in personalize(
        model, subject, settings, runs, identifier=options.identifier, progress=bar, cancel=cancel
    ):
        curve = f"loss {result.losses[0]:.3f} -> {mean_of_last(result.losses):.3f}" if result.losses else ""
        print(f"{result.personalization.recipe['stage']}: {result.step} steps, {result.note}; {curve}")
    path = result.personalization.save(options.out)
    print(f"wrote {path} ({path.stat().st_size / 2**20:.2f} MiB). Trainings are remembered in {runs}.")


def paper_values(method: str) -> dict[str, object]:
    """PAPER_RECIPE as choices for TrainingSettings.resolve."""
    recipe = PAPER_RECIPE
    full = method == "full"
    return {
        "embedding_steps": recipe.embedding_steps,
        "layer_steps": recipe.full_steps if full else recipe.lora_steps,
        "embedding_learning_rate": recipe.embedding_learning_rate,
        "rank": recipe.lora_rank,
        "layer_learning_rate": recipe.full_learning_rate if full else recipe.lora_learning_rate,
        "vectors": recipe.vectors,
        "initialisation": recipe.initialisation,
        "per_image_token": recipe.per_image_token,
        "batch_size": recipe.batch_size,
    }
