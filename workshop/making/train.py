"""Train the miniature from nothing, or go on from where a training was stopped:

    python -m workshop.making.train --plan card --folder runs/miniature

Scenes are drawn by processes beside the training; image tokenizer, codes of the scenes, transformer and export to
`ar_core/miniature/weights` follow each other, and what lies in the folder already is not made again. `--minutes` stops
in time, with everything saved: the same command goes on.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import torch

from ar_core.devices import default_device
from ar_core.families.miniature import MINIATURE
from ar_core.files import read_json, write_json
from ar_core.model import MINIATURE_FOLDER
from ar_core.text import TextTokenizer

from ..machine import machine
from ..world.words import build_tokenizer
from .drawings import Drawings, captioned
from .export import export_miniature
from .image_tokenizer_training import Scenes, train_image_tokenizer
from .loop import Log, timed_log
from .place import OutOfTimeError, Place
from .plans import PLANS, Plan
from .sequences import Sequences
from .transformer_training import encode_scenes, train_transformer


def main() -> None:
    options = parsed_options()
    started = time.monotonic()
    log = timed_log()
    plan = chosen_plan(options)
    place = Place(torch.device(options.device), options.compile, started + 60 * options.minutes, plan.save_seconds)
    try:
        train(plan, options.folder, place, options.workers, options.seed, log)
    except OutOfTimeError:
        log("the time is over; the same command goes on")
        return
    finally:
        record_training(options.folder, plan, options, (time.monotonic() - started) / 60)
    export_miniature(options.folder, options.out)
    log(f"wrote {options.out}")


def parsed_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.making.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plan", choices=tuple(PLANS), default="cores", help="how much is drawn and trained")
    parser.add_argument("--transformer-steps", type=int, help="more or fewer than the plan has")
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="scenes, codes and checkpoints")
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--compile", action="store_true", help="join the transformer's kernels: for long trainings")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="who draw scenes")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many, and go on another time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=MINIATURE_FOLDER)
    return parser.parse_args()


def chosen_plan(options: argparse.Namespace) -> Plan:
    """The plan with what the options change of it."""
    plan = PLANS[options.plan]
    if options.transformer_steps is None:
        return plan
    return replace(plan, transformer=replace(plan.transformer, steps=options.transformer_steps))


def train(plan: Plan, folder: Path, place: Place, workers: int, seed: int, log: Log) -> None:
    """Image tokenizer, codes and transformer."""
    with Drawings(folder, plan.scenes, seed, workers) as drawings:
        scenes = Scenes(drawings, plan.image_tokenizer.batch, seed)
        tokenizer = train_image_tokenizer(folder, scenes, plan.image_tokenizer, place, seed, log)
        codes = encode_scenes(tokenizer, drawings, place, log)
        drawings.wait(plan.scenes)
        prompts = torch.from_numpy(drawings.prompts[captioned(plan.scenes)]).to(place.device)
    protocol = MINIATURE.bind(TextTokenizer(build_tokenizer()))
    batches = Sequences(codes, prompts, protocol, plan.transformer.batch, seed)
    train_transformer(folder, batches, plan.transformer, place, seed, log)


def record_training(folder: Path, plan: Plan, options: argparse.Namespace, minutes: float) -> None:
    """Add this run to `training.json`, which the model card quotes."""
    path = folder / "training.json"
    before = {}
    if path.exists():
        before = read_json(path)
    image_tokenizer, transformer = plan.image_tokenizer, plan.transformer
    write_json(
        path,
        {
            "scenes drawn": plan.scenes,
            "image tokenizer": f"{image_tokenizer.steps} steps of {image_tokenizer.batch} scenes",
            "transformer": f"{transformer.steps} steps of {transformer.batch} sequences",
            "seed": options.seed,
            "minutes": round(before.get("minutes", 0) + minutes, 1),
            "machine": machine(torch.device(options.device)),
        },
    )


if __name__ == "__main__":
    main()
