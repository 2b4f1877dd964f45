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
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ar_core import ARModel, Subject, TrainingSettings, personalize
from ar_core.control import Cancelled
from ar_core.families.registry import FAMILIES
from ar_core.files import write_json
from ar_core.memory import drawing_bytes, weight_bytes
from ar_core.model import PRECISIONS
from ar_core.sampling import SamplingSettings, jacobi, sequential
from ar_core.sampling.engine import Engine

from .machine import bandwidth, limit_memory, machine, peak_memory

PROMPT = "a photo of a dog"


def synchronized(device: torch.device) -> float:
    """Seconds on a clock, when the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def step_seconds(model: ARModel, images: int, window: int, steps: int) -> float:
    """Median seconds of a forward pass with everything around it, after the prompt and a first step."""
    settings = SamplingSettings.resolve(model.family, window=window)
    ids = [model.protocol.prompt(PROMPT, settings.size)] * images
    engine = Engine(model.transformer, model.protocol, ids, settings.size, settings.cfg, spare=window)
    ticks: list[float] = []
    decode = sequential.decode if window == 1 else jacobi.decode
    try:
        decode(
            engine,
            settings,
            progress=lambda *_: ticks.append(synchronized(model.device)),
            cancel=lambda: len(ticks) > steps + 1,
        )
    except Cancelled:
        pass
    return statistics.median(after - before for before, after in zip(ticks[1:], ticks[2:]))


def training_seconds(model: ARModel) -> dict[str, float]:
    """Seconds of one step with one picture, by stage, reading nothing and drawing nothing."""
    size, protocol = model.family.recipe.size, model.protocol
    subject = Subject("dog", size, torch.randint(protocol.codes, (1, *protocol.grid(size))), (0,), "random codes")
    settings = TrainingSettings.resolve(model.family, embedding_steps=1, layer_steps=1, batch_size=1, micro_batch=1)
    marks = [synchronized(model.device)]
    with tempfile.TemporaryDirectory() as runs:
        personalize(model, subject, settings, Path(runs), progress=lambda *_: marks.append(synchronized(model.device)))
    return {"stage 1": marks[1] - marks[0], "stage 2, LoRA": marks[-1] - marks[-2]}


def describe(model: ARModel) -> dict[str, float]:
    """Gibibytes: held by the weights, and computed for one picture beside them."""
    recipe = model.family.recipe
    beside = drawing_bytes(model, recipe.size, 1, recipe.cfg, previews=False)
    return {
        "weights": (weight_bytes(model.transformer) + weight_bytes(model.image_tokenizer)) / 2**30,
        "one picture": beside / 2**30,
    }


def arguments() -> argparse.Namespace:
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
    chosen = arguments()
    device, precision = torch.device("cuda" if torch.cuda.is_available() else "cpu"), PRECISIONS[chosen.precision]
    if chosen.memory_cap:
        limit_memory(device, chosen.memory_cap)
    print(machine(device), flush=True)
    read_speed = bandwidth(device)  # first: its memory is not to be taken for the model's
    start = time.perf_counter()
    model = ARModel.load(chosen.folder, device, precision.dtype, quantized=precision.quantized, family=chosen.family)
    result = {
        "machine": machine(device),
        "precision": model.transformer.precision,
        "load_s": synchronized(device) - start,
        "gib": describe(model),
    }
    held = ", ".join(f"{name} {gib:.2f} GiB" for name, gib in result["gib"].items())
    print(
        f"{model.family.title}, {model.transformer.precision}: loaded in {result['load_s']:.0f} s; {held}; peak {peak_memory(device):.2f} GiB"
    )
    read = sum(p.nbytes for p in (*model.transformer.model.layers.parameters(), model.transformer.image_head.weight))
    floor = read / read_speed
    result |= {"floor_s": floor, "steps": []}
    for images in chosen.images:
        for window in chosen.windows:
            seconds = step_seconds(model, images, window, chosen.codes)
            result["steps"].append(
                {"images": images, "window": window, "seconds": seconds, "peak_gib": peak_memory(device)}
            )
            print(
                f"{images} picture(s), window {window}: {1e3 * seconds:.1f} ms per step, {100 * floor / seconds:.0f} % of the bandwidth "
                f"floor of {1e3 * floor:.1f} ms, peak {peak_memory(device):.2f} GiB",
                flush=True,
            )
    if chosen.train:
        result["training_s"] = training_seconds(model)
        print(
            ", ".join(f"{stage} {seconds:.1f} s per picture" for stage, seconds in result["training_s"].items()), end=""
        )
        print(f", peak {peak_memory(device):.2f} GiB")
    if chosen.json:
        write_json(chosen.json, result)


if __name__ == "__main__":
    main()
