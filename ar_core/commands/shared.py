"""What several commands need: the options that choose a model, loading it, a progress bar, printed values."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from ..devices import (
    check_support,
    default_device,
    describe_support,
    device_support,
    is_out_of_memory,
    own_card,
)
from ..families.family import Family
from ..families.miniature import MINIATURE
from ..families.protocol import Size
from ..families.recipes import AUTO, PAPER, RECIPES, with_recipe
from ..families.registry import FAMILIES
from ..memory import NotEnough
from ..model import PRECISIONS, ARModel
from ..quoting import quoted
from ..training.trainable import largest_rank

DELAY = 1.0  # seconds before a bar is shown


def model_options(command: argparse.ArgumentParser) -> None:
    """The options of a command that trains or samples a model; `load_model_from_options` reads them."""
    loading_options(command)
    command.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default=AUTO,
        help="where settings that are not given come from: "
        + "; ".join(f"{name}, {meaning}" for name, meaning in RECIPES.items()),
    )


def loading_options(command: argparse.ArgumentParser) -> None:
    """The options that choose a model and how it is loaded."""
    command.add_argument("--model", default=MINIATURE.name, help="a model folder (default: the miniature that ships)")
    command.add_argument("--family", choices=FAMILIES, help="the model's family (default: read from its files)")
    command.add_argument("--vq", type=Path, help="the image tokenizer's file, if it is not in the model folder")
    command.add_argument("--tokenizer", type=Path, help="the text tokenizer's file, if it is not in the model folder")
    command.add_argument("--device", default=default_device(), help="default: %(default)s")
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto: bf16, or fp32 for a small model on a CPU; int8, 4-bit: the layers' weights in fewer bits, "
        "half or a third of the memory of bf16, LoRA only; 4-bit needs bitsandbytes; int8-rotated: products of 8 bits, "
        "needs comfy-kitchen, experimental",
    )


def checked_device(name: str) -> torch.device:
    """The device of that name; of several processes that were started together each gets its own card.

    Raises ValueError where there is none, and for a kind that cannot be used.
    """
    device = None
    try:
        device = own_card(torch.device(name))
        check_support(device)
        (torch.ones(1, dtype=torch.float32, device=device) + 1).item()  # some kinds only describe tensors
    except (RuntimeError, AssertionError, ImportError) as error:  # without CUDA torch asserts, without HPU it imports
        if device is not None and device != torch.device(name):
            raise ValueError(
                f"There is no device {quoted(device)} here for one of the processes. Start as many processes as there "
                "are cards (accelerate launch --num_processes)."
            ) from error
        raise ValueError(
            f"There is no device {quoted(name)} here. Use --device {default_device()}, or leave the option out."
        ) from error
    return device


def load_model_from_options(options: argparse.Namespace) -> ARModel:
    """Load the model that the options choose, with the recipe that they choose, and print what it is.

    Raises NotEnough where there is too little memory for its weights.
    """
    if options.model == MINIATURE.name and options.family not in (None, MINIATURE.name):
        raise ValueError(
            f"The built-in miniature is not of the family {options.family}: give the model's folder with --model."
        )
    precision = PRECISIONS[options.precision]
    device = checked_device(options.device)
    try:
        model = ARModel.load(
            options.model,
            device,
            precision.dtype,
            quantized=precision.quantized,
            family=options.family,
            vq=options.vq,
            tokenizer=options.tokenizer,
            progress=Bar(),
        )
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise NotEnough(
            f"The weights of {options.model} alone take more memory than is free on {device}. Choose --precision int8 "
            "or 4-bit, close other programs, or choose --device cpu."
        ) from error
    title = model.family.title
    print(f"model: {title}, fingerprint {model.fingerprint}, {model.transformer.precision}, on {model.device}")
    if device_support(model.device).status != "tested":
        print(f"note: {describe_support(model.device)}")
    for note in model.notes:
        print(f"note: {note}")
    recipe = options.recipe or AUTO
    if recipe != AUTO and model.family.name == MINIATURE.name:
        print(f"note: the recipe {recipe} is made for Lumina-mGPT 7B; the miniature's own is {AUTO}.")
    if recipe == PAPER and not model.family.own_recipe_is_papers:
        print(f"note: the paper's recipe was made for Lumina-mGPT; {model.family.title} has its own, {AUTO}.")
    return replace(model, family=with_recipe(model.family, recipe))


def note_size(family: Family, asked: Size | None) -> None:
    """Say so where pictures of another size than was asked for come out."""
    if not asked or not any(asked):
        return
    width, height = family.snap(*asked)
    if (width, height) != tuple(asked):
        wish = f"{asked[0]}x{asked[1]}"
        print(f"note: {family.title} does not draw {wish}; {width}x{height} is the nearest that it does.")


def check_rank(options: argparse.Namespace, model: ARModel) -> None:
    """Raise ValueError for a --rank that no layer of the model can use."""
    most = largest_rank(model.transformer)
    if options.rank is not None and options.rank > most:
        raise ValueError(
            f"--rank is {options.rank}, and the layers of this model are {most} wide: {most} is the largest rank that "
            "changes anything. Give that or fewer; the recipe's is "
            f"{model.family.recipe.lora_rank}."
        )


def check_temperature(options: argparse.Namespace) -> None:
    """Raise ValueError for --temperature 0, which the engine reads as the recipe's."""
    if options.temperature == 0:
        raise ValueError(
            "--temperature is 0; it must be above 0. For the likeliest code everywhere give --top-k 1, for the "
            "recipe's temperature leave it out."
        )


def note_recipe_top_k(options: argparse.Namespace, top_k: int) -> None:
    """Say so where --top-k 0 is given, which the engine reads as the recipe's."""
    if options.top_k == 0:
        print(f"note: --top-k 0 takes the recipe's, {top_k}.")


class Bar:
    """A Progress that shows a tqdm bar, with its estimate of the time left, for what takes longer than a second."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.total = 0
        self.done = 0
        self.started = 0.0

    def __call__(self, done: int, total: int, message: str) -> None:
        if self.total != total or done < self.done:
            self.close()
            self.total = total
            self.started = time.monotonic()
        self.done = done
        if self.bar is None and time.monotonic() - self.started > DELAY:
            self.bar = tqdm(total=total, initial=done, desc=message, leave=False, file=sys.stderr)
        if self.bar is not None:
            self.bar.set_description(message, refresh=False)
            self.bar.update(done - self.bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        """Take the bar away; what comes next is another."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None
        self.total = 0


def print_option_values(title: str, values: Mapping[str, object]) -> None:
    """One line: "sampling: cfg 2.0, top_k 20, ..." """
    print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
