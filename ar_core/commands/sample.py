"""`python -m ar_core sample`: generate images, with any number of personalizations applied."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..model import ARModel
from ..personalization import Personalization
from ..pngs import save_png
from ..sampling import SamplingSettings
from .shared import Bar, Interruption, load_model, print_values


def run_sample(options: argparse.Namespace) -> None:
    if options.n < 1:
        raise ValueError(f"--n is {options.n}; it must be at least 1.")
    model = apply_files(load_model(options), options.personalization, options.identifier, options.strength)
    settings = SamplingSettings.resolve(
        model.family,
        cfg=options.cfg,
        top_k=options.top_k,
        temperature=options.temperature,
        size=options.size,
        seed=options.seed,
    )
    print_values("sampling", settings.describe())
    options.out.mkdir(parents=True, exist_ok=True)
    bar, cancel = Bar(), Interruption()
    for number, prompt in enumerate(options.prompt):
        if unknown := model.text.unknown_words(prompt):
            print(f"note: the model never saw the words {', '.join(unknown)}")
        images = model.generate(
            [prompt] * options.n,
            settings,
            progress=bar,
            cancel=cancel,
            graphs=options.cuda_graphs,
            compiled=options.compile,
        )
        print(f"prompt: {images[0].prompt}")
        for k, image in enumerate(images):
            path = options.out / f"{number:02d}_{settings.seed}_{k:02d}.png"
            save_png(image, k, model, path)
            print(path)


def apply_files(model: ARModel, files: Sequence[Path], names: Sequence[str], strengths: Sequence[float]) -> ARModel:
    for index, file in enumerate(files):
        strength = strengths[index] if index < len(strengths) else 1.0
        name = names[index] if index < len(names) else None
        model = model.personalized(Personalization.load(file), strength, name)
    return model
