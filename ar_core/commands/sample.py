"""`ar-personalize sample`: generate images, with any number of personalizations applied."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..batches import draw_in_batches
from ..files import write_numbered
from ..model import ARModel
from ..personalization import Personalization
from ..pngs import save_png
from ..sampling import SamplingSettings
from ..sampling.steps import ATTENTION, StepOptions
from ..text import prompt_hints
from .interruption import Interruption
from .options import add_settings, chosen_settings
from .output import try_writing
from .shared import (
    Bar,
    check_temperature,
    load_model_from_options,
    model_options,
    note_recipe_top_k,
    note_size,
    print_option_values,
)

MOST = 100_000  # pictures of one prompt


def add_options(command: argparse.ArgumentParser) -> None:
    model_options(command)
    command.add_argument(
        "--prompt", action="append", required=True, help='e.g. "a photo of [V] dog on the beach"; may be repeated'
    )
    command.add_argument(
        "--n", type=int, default=1, help="images per prompt, drawn as one batch (default: %(default)s)"
    )
    command.add_argument(
        "--first-image",
        type=int,
        default=0,
        metavar="K",
        help="number of the first image: 3 draws image 3 of a batch alone, with the --window that its metadata names "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--personalization", type=Path, action="append", default=[], help="a .safetensors file; may be repeated"
    )
    command.add_argument(
        "--identifier",
        action="append",
        default=[],
        help="name of each --personalization in prompts, in the same order (default: the one that it was saved with)",
    )
    command.add_argument(
        "--strength",
        type=float,
        action="append",
        default=[],
        help="strength of each --personalization, in the same order (default: 1; 0 is the base model)",
    )
    command.add_argument("--out", type=Path, default=Path("output"), help="folder for the PNGs (default: %(default)s)")
    command.add_argument(
        "--cuda-graphs",
        action=argparse.BooleanOptionalAction,
        help="replay recorded steps on an NVIDIA card: the same codes, twice as fast or more on an H200 (default: yes, "
        "there)",
    )
    command.add_argument(
        "--compile",
        action="store_true",
        help="run steps through torch.compile: a minute at first "
        "(for graphics cards, where sampling was not yet measured with it; slower on a CPU)",
    )
    command.add_argument(
        "--attention",
        choices=ATTENTION,
        default=ATTENTION[0],
        help="lengths: a kernel without a mask, on an NVIDIA card in 16 bits (experimental: not yet measured; default: "
        "%(default)s)",
    )
    add_settings(command, SamplingSettings)


def run(options: argparse.Namespace) -> None:
    if not 1 <= options.n <= MOST:
        raise ValueError(f"--n is {options.n}; it must be from 1 to {MOST}.")
    check_temperature(options)
    if not 0 <= options.first_image <= MOST:
        raise ValueError(f"--first-image is {options.first_image}; it must be from 0 to {MOST}.")
    model = apply_files(load_model_from_options(options), options.personalization, options.identifier, options.strength)
    settings = SamplingSettings.resolve(model.family, **chosen_settings(options, SamplingSettings))
    print_option_values("sampling", settings.describe())
    note_size(model.family, options.size)
    note_recipe_top_k(options, settings.top_k)
    for hint in prompt_hints(options.prompt, model.identifiers):
        print(f"note: {hint}.")
    read = [model.check_prompt(prompt, settings.size) for prompt in options.prompt]  # all, before the first is drawn
    try_writing(options.out / f"00_{settings.seed}_{options.first_image:02d}.png")
    steps = StepOptions(graphs=options.cuda_graphs is not False, compiled=options.compile, attention=options.attention)
    steps.check(model.device, model.base.dtype)
    if options.cuda_graphs and model.device.type != "cuda":
        print("note: steps are recorded on NVIDIA cards alone; --cuda-graphs changes nothing here.")
    bar = Bar()
    cancel = Interruption()
    for number, prompt in enumerate(options.prompt):
        unknown = model.text.unknown_words(prompt)
        if unknown:
            print(f"note: the model was not trained on these words: {', '.join(unknown)}")
        print(f"prompt: {read[number]}")
        k = options.first_image
        for images in draw_in_batches(
            model,
            [prompt] * options.n,
            settings,
            first_image=options.first_image,
            most=options.n,
            progress=bar,
            cancel=cancel,
            options=steps,
        ):
            for image in images:
                name = f"{number:02d}_{settings.seed}_{k:02d}.png"
                print(write_numbered(options.out / name, partial(save_png, image, k, model, replace=False)))
                k += 1


def apply_files(model: ARModel, files: Sequence[Path], names: Sequence[str], strengths: Sequence[float]) -> ARModel:
    """`model` with every personalization applied; a missing name is the saved one, a missing strength is 1.

    Raises ValueError for more names or strengths than files.
    """
    for option, values in (("--identifier", names), ("--strength", strengths)):
        if len(values) > len(files):
            raise ValueError(
                f"{option} was given {len(values)} times, --personalization {len(files)} times: give one for each "
                "personalization at most."
            )
    for index, file in enumerate(files):
        strength = strengths[index] if index < len(strengths) else 1.0
        name = names[index] if index < len(names) else None
        model = model.personalized(Personalization.load(file), strength, name)
    return model
