"""A model of full size on this machine, through the loader and the decoders that users meet:

    python -m benchmarks.random_checkpoint FOLDER          # unless FOLDER holds the real weights
    python -m benchmarks.full_size FOLDER --precision int8 [--family NAME] [--images 1 4] [--windows 1 64] [--codes N]
                                          [--train] [--memory-cap GB] [--json FILE]

Times loading, then the steps of the first codes of a picture, sequentially and with a window, and with `--train` one
step of each stage (batch size 1). A step with a window gives more than one code: how many depends on the weights, and
random ones say nothing about it, so seconds per step are what is reported. One precision per call: the memory that a
process took at most cannot be taken back.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from ar_core import ARModel, Subject, TrainingSettings, personalize
from ar_core.families.registry import FAMILIES
from ar_core.files import write_json
from ar_core.memory import drawing_bytes, weight_bytes
from ar_core.model import PRECISIONS
from ar_core.sampling import SamplingSettings
from ar_core.sampling.engine import Engine

from .common.machine import (
    bandwidth,
    default_device,
    limit_memory,
    machine,
    peak_memory,
    peak_text,
    seconds_when_finished,
)
from .common.timing import median_step_seconds

PROMPT = "a photo of a dog"


def step_seconds(model: ARModel, images: int, window: int, steps: int) -> float:
    """Median seconds of a forward pass with everything around it, after the prompt and a first step."""
    settings = SamplingSettings.resolve(model.family, window=window)
    ids = [model.protocol.prompt(PROMPT, settings.size)] * images
    engine = Engine(model.transformer, model.protocol, ids, settings.size, settings.cfg, spare=window)
    return median_step_seconds(engine, settings, steps)


def training_seconds(model: ARModel) -> dict[str, float]:
    """Seconds of one step with one picture, by stage, reading nothing and drawing nothing."""
    size = model.family.recipe.size
    codes = torch.randint(model.protocol.codes, (1, *model.protocol.grid(size)))
    subject = Subject("dog", size, codes, (0,), "random codes")
    settings = TrainingSettings.resolve(model.family, embedding_steps=1, layer_steps=1, batch_size=1, micro_batch=1)
    marks = [seconds_when_finished(model.device)]

    def mark(*_: object) -> None:
        marks.append(seconds_when_finished(model.device))

    with tempfile.TemporaryDirectory() as runs:
        personalize(model, subject, settings, Path(runs), progress=mark)
    return {"stage 1": marks[1] - marks[0], "stage 2, LoRA": marks[-1] - marks[-2]}


def gib_needed(model: ARModel) -> dict[str, float]:
    """Gibibytes: held by the weights, and computed for one picture on top of them."""
    recipe = model.family.recipe
    return {
        "weights": (weight_bytes(model.transformer) + weight_bytes(model.image_tokenizer)) / 2**30,
        "one picture": drawing_bytes(model, recipe.size, 1, recipe.cfg, previews=False) / 2**30,
    }


def time_steps(model: ARModel, images: int, window: int, steps: int, floor: float) -> dict[str, float | None]:
    """Times steps and prints what was found; `floor`: seconds that reading the weights once takes."""
    seconds = step_seconds(model, images, window, steps)
    print(
        f"{images} picture(s), window {window}: {1e3 * seconds:.1f} ms per step, {100 * floor / seconds:.0f} % of the "
        f"bandwidth floor of {1e3 * floor:.1f} ms, {peak_text(model.device)}",
        flush=True,
    )
    return {"images": images, "window": window, "seconds": seconds, "peak_gib": peak_memory(model.device)}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--family", choices=FAMILIES, help="default: read from the folder")
    parser.add_argument("--images", type=int, nargs="+", default=[1], help="pictures at once")
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--codes", type=int, default=8, help="steps that are timed")
    parser.add_argument("--train", action="store_true", help="one step of each stage")
    parser.add_argument("--memory-cap", type=float, metavar="GB", help="CUDA: use no more memory than this")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


def main() -> None:
    chosen = parse_arguments()
    device = default_device()
    precision = PRECISIONS[chosen.precision]
    if chosen.memory_cap:
        limit_memory(device, chosen.memory_cap)
    print(machine(device), flush=True)
    read_speed = bandwidth(device)  # first: its memory is not to be taken for the model's
    start = time.perf_counter()
    model = ARModel.load(chosen.folder, device, precision.dtype, quantized=precision.quantized, family=chosen.family)
    load_seconds = seconds_when_finished(device) - start
    gib = gib_needed(model)
    held = ", ".join(f"{name} {size:.2f} GiB" for name, size in gib.items())
    name = model.transformer.precision
    print(f"{model.family.title}, {name}: loaded in {load_seconds:.0f} s; {held}; {peak_text(device)}")

    transformer = model.transformer
    read = sum(p.nbytes for p in (*transformer.model.layers.parameters(), *transformer.image_head.parameters()))
    floor = read / read_speed
    steps = []
    for images in chosen.images:
        for window in chosen.windows:
            steps.append(time_steps(model, images, window, chosen.codes, floor))
    result: dict[str, object] = {
        "machine": machine(device),
        "precision": name,
        "load_s": load_seconds,
        "gib": gib,
        "floor_s": floor,
        "steps": steps,
    }
    if chosen.train:
        training = training_seconds(model)
        result["training_s"] = training
        listed = ", ".join(f"{stage} {seconds:.1f} s per picture" for stage, seconds in training.items())
        print(f"{listed}, {peak_text(device)}")
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
