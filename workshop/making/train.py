"""Train the miniature from nothing, or go on from where a training was stopped:

    python -m workshop.making.train --folder runs/miniature

Four steps, each skipped where its result lies in the folder: image tokenizer, codes of the scenes, decoder,
export to `ar_core/miniature/weights`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import torch

from ar_core.families.miniature import MINIATURE
from ar_core.files import read_json, write_json
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.model import MINIATURE_FOLDER
from ar_core.text import TextTokenizer

from ..world.words import build_tokenizer
from . import decoder_training, vq_training
from .export import export_miniature
from .loop import timed_log


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.making.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="checkpoints and codes")
    parser.add_argument("--vq-images", type=int, default=400_000, help="scenes seen by the image tokenizer")
    parser.add_argument("--scenes", type=int, default=60_000, help="scenes encoded for the decoder")
    parser.add_argument(
        "--steps", type=int, default=16_000, help=f"decoder steps of {decoder_training.BATCH} sequences"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=MINIATURE_FOLDER)
    arguments = parser.parse_args()
    started = time.time()
    log = timed_log()
    tokenizer: ImageTokenizer = vq_training.train_image_tokenizer(
        arguments.folder, arguments.vq_images, arguments.seed, log
    )
    codes = decoder_training.tokenise_scenes(tokenizer, arguments.folder, arguments.scenes, arguments.seed, log)
    protocol = MINIATURE.bind(TextTokenizer(build_tokenizer()))
    batches = decoder_training.Batches(codes, protocol, arguments.seed)
    decoder_training.train_decoder(arguments.folder, batches, arguments.steps, arguments.seed, log)
    export_miniature(arguments.folder, arguments.out)
    record_training(arguments, (time.time() - started) / 60)
    log(f"wrote {arguments.out}")


def record_training(arguments: argparse.Namespace, minutes: float) -> None:
    """Add this run to `training.json`, which the model card quotes."""
    path = arguments.folder / "training.json"
    before = {}
    if path.exists():
        before = read_json(path)
    write_json(
        path,
        {
            "scenes seen by the image tokenizer": arguments.vq_images,
            "scenes encoded for the decoder": arguments.scenes,
            "decoder steps": f"{arguments.steps} of {decoder_training.BATCH} sequences",
            "seed": arguments.seed,
            "minutes": round(before.get("minutes", 0) + minutes),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        },
    )


if __name__ == "__main__":
    main()
