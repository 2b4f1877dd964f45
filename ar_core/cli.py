"""The command line: `python -m ar_core {personalize, sample, score, dreambench, info, demo, forget}`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from .commands.demo import run_demo
from .commands.dreambench import dreambench_options, run_dreambench, run_score, score_options
from .commands.forget import run_forget
from .commands.info import run_info
from .commands.personalize import SWITCHES, TRAINING_OPTIONS, run_personalize
from .commands.sample import run_sample
from .commands.shared import Bar, Interruption, image_size, load_model, model_options
from .control import Cancelled
from .training import STRATEGIES
from .training.settings import INITIALISATIONS, METHODS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what a user can mend comes back as one sentence and exit code 1."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            error = "The device ran out of memory. Choose a smaller --size or --n, or --device cpu."
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Cancelled as stopped:
        print(stopped, file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m ar_core", description="Personalize the auto-regressive image model Lumina-mGPT."
    )
    commands = root.add_subparsers(required=True, metavar="command")

    learn = commands.add_parser("personalize", help="learn one subject from 3-5 photos")
    model_options(learn)
    learn.add_argument("--photos", type=Path, required=True, help="folder with photos of one subject")
    learn.add_argument("--class-name", required=True, help='the word for what they show, e.g. "dog"')
    learn.add_argument("--identifier", default="[V]", help="name of the subject in prompts (default [V])")
    learn.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    learn.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="two_stage",
        help="; ".join(f"{k}: {v}" for k, v in STRATEGIES.items()),
    )
    learn.add_argument(
        "--method", choices=METHODS, default="lora", help="how layers change: low-rank, or full q/k/v as in the paper"
    )
    learn.add_argument(
        "--recipe", choices=("auto", "paper"), default="auto", help="paper: the paper's values instead of the family's"
    )
    learn.add_argument("--runs", type=Path, help="where trainings are remembered (default: _runs beside --out)")
    learn.add_argument("--size", type=image_size, help="WIDTHxHEIGHT (default: the recipe's)")
    learn.add_argument("--seed", type=int, default=0)
    for name, kind in TRAINING_OPTIONS.items():
        learn.add_argument(f"--{name.replace('_', '-')}", type=kind, help="default: the recipe's")
    learn.add_argument("--initialisation", choices=INITIALISATIONS)
    for name in SWITCHES:
        learn.add_argument(f"--{name.replace('_', '-')}", action=argparse.BooleanOptionalAction, default=None)
    learn.set_defaults(run=run_personalize)

    sample = commands.add_parser("sample", help="generate images")
    model_options(sample)
    sample.add_argument(
        "--personalization", type=Path, action="append", default=[], help="a .safetensors file; may be repeated"
    )
    sample.add_argument(
        "--identifier", action="append", default=[], help="name for each --personalization, in the same order"
    )
    sample.add_argument(
        "--strength", type=float, action="append", default=[], help="strength of each (default 1; 0 is the base)"
    )
    sample.add_argument(
        "--prompt", action="append", required=True, help='e.g. "a photo of [V] dog on the beach"; may be repeated'
    )
    sample.add_argument("--n", type=int, default=1, help="images per prompt")
    sample.add_argument("--cfg", type=float)
    sample.add_argument("--top-k", type=int)
    sample.add_argument("--temperature", type=float)
    sample.add_argument("--size", type=image_size, help="WIDTHxHEIGHT, snapped to the nearest allowed")
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--out", type=Path, default=Path("output"))
    sample.add_argument(
        "--cuda-graphs",
        action="store_true",
        help="replay recorded steps on an NVIDIA card (experimental: not yet measured)",
    )
    sample.add_argument(
        "--compile",
        action="store_true",
        help="run steps through torch.compile: a minute at first (for graphics cards, not yet measured; slower on a CPU)",
    )
    sample.set_defaults(run=run_sample)

    info = commands.add_parser(
        "info", help="what a model or a personalization is; --recipe paper lists the paper's values"
    )
    info.add_argument("file", type=Path, nargs="?", help="a personalization file")
    model_options(info)
    info.add_argument("--recipe", choices=("auto", "paper"), help="print every value of a recipe")
    info.set_defaults(run=run_info)

    demo = commands.add_parser("demo", help="the whole job on the miniature; leaves pictures")
    demo.add_argument("--out", type=Path, default=Path("demo"))
    demo.add_argument("--photos", type=Path, help="default: a drawn dog")
    demo.add_argument("--class-name", default="dog")
    demo.set_defaults(run=run_demo)

    score = commands.add_parser("score", help="score pictures as DreamBench does: DINO, CLIP-I, CLIP-T")
    score_options(score)
    score.set_defaults(run=run_score)

    bench = commands.add_parser(
        "dreambench", help="train, sample and score every DreamBench subject; stops and goes on"
    )
    model_options(bench)
    dreambench_options(bench)
    bench.set_defaults(run=lambda options: run_dreambench(options, load_model(options), Bar(), Interruption()))

    clean = commands.add_parser("forget", help="delete the remembered trainings below a _runs folder")
    clean.add_argument("runs", type=Path)
    clean.set_defaults(run=run_forget)
    return root
