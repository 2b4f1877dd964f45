"""Speed of decoding, against what upstream's inference does for every token, on the same weights in the same run.

    python -m benchmarks.decode [--quick] [--json FILE] [--plot FILE] [--threads N] [--size PIXELS]
                               [--memory-cap GB]

Upstream's way is described and built in `common/upstream.py`.

The model has random weights: 101M parameters in its layers and Lumina's vocabulary. Timed are the steps from the
first code of an image to the N-th (N is printed), after a prompt of 40 tokens; reading the prompt counts in the time to
the first code alone. int8 and 4-bit are compared with upstream's way in bfloat16: rows of their own, since the
weights differ.

Jacobi decoding is timed on the same weights with a simulated rate of kept guesses, that of the published
measurements on the real model: random weights accept unrealistically well. How many steps it really saves is counted
on the miniature, at guidance 4, the value for the 7B.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ar_core.families.lumina_mgpt import CODES_PER_STEP
from ar_core.files import write_image, write_json
from ar_core.model import ARModel
from ar_core.quantization import SCHEMES
from ar_core.sampling import SamplingSettings
from ar_core.sampling.settings import WINDOWS

from .common.machine import bandwidth, default_device, limit_memory, machine, peak_memory
from .common.plot import draw_ratios
from .common.timing import Stopwatch, time_jacobi, time_naive, time_ours
from .common.upstream import CONFIG, PROMPT, Model, Naive

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Both ways compute the same numbers in another order: the largest difference allowed, in standard deviations of the
# logits.
AGREEMENT = {"fp32": 1e-3, "bf16": 0.25, "int8": 0.5, "4-bit": 1.0}
MINIATURE_CFG = 4.0
MINIATURE_PROMPTS = (
    "a photo of a red striped mug on a wooden floor",
    "a photo of a blue dog on the beach",
    "a green car in the city",
    "a photo of a yellow dotted rabbit in the garden",
)


def count_steps(windows: tuple[int, ...]) -> dict[int, dict[str, float]]:
    """On the miniature: sequential steps and seconds of a picture as multiples of each window's."""
    model = ARModel.load("miniature", default_device())
    settings = SamplingSettings.resolve(model.family, cfg=MINIATURE_CFG)
    model.generate(MINIATURE_PROMPTS[0], replace(settings, window=1))  # warm up
    steps: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for window in windows:
        steps[window] = 0
        start = time.perf_counter()
        for seed, prompt in enumerate(MINIATURE_PROMPTS):
            steps[window] += model.generate(prompt, replace(settings, window=window, seed=seed))[0].steps
        seconds[window] = time.perf_counter() - start
    return {
        window: {
            "steps_per_image": steps[window] / len(MINIATURE_PROMPTS),
            "steps_ratio": steps[1] / steps[window],
            "time_ratio": seconds[1] / seconds[window],
        }
        for window in windows
    }


@torch.inference_mode()
def largest_disagreement(model: Model, baseline: Model, steps: int = 4) -> float:
    """Largest difference of both ways' guided logits over the first steps, in standard deviations of the logits."""
    engine = model.engine()
    naive = Naive(baseline)
    first = CONFIG.head_first
    codes = slice(first, first + CONFIG.head_size)
    ours = engine.prefill()[0]
    theirs = naive.prefill()[codes]
    worst = 0.0
    for step in range(steps):
        worst = max(worst, float((ours - theirs).abs().max() / theirs.std()))
        token = torch.tensor([first + 1000 * step], device=model.device)
        ours = engine.advance(token[None])[0, -1]
        theirs = naive.advance(token)[codes]
    return worst


@dataclass
class Round:
    """One repetition: all ways one after the other."""

    naive: Stopwatch
    ours: Stopwatch
    jacobi: dict[int, float]  # seconds per code, by window

    @property
    def best(self) -> float:
        """Seconds per code of our fastest way."""
        return min([self.ours.seconds, *self.jacobi.values()])


def measure_precision(
    name: str, model: Model, baseline: Model, tokens: int, repetitions: int, read_speed: float, windows: tuple[int, ...]
) -> dict[str, Any]:
    """Alternate all ways and take medians: a machine that slows down for a while slows all."""
    difference = largest_disagreement(model, baseline)
    if not difference <= AGREEMENT[name]:
        raise RuntimeError(f"{name}: no fair comparison: logits differ by {difference:.2g} standard deviations.")
    time_naive(baseline, 3)  # warm up
    time_ours(model, 3)
    rounds = []
    for _ in range(repetitions):
        naive = time_naive(baseline, tokens)
        ours = time_ours(model, tokens)
        rounds.append(Round(naive, ours, {window: time_jacobi(model, window, tokens) for window in windows}))
    result = summarize(rounds, model.bytes_per_step / read_speed, windows)
    result["peak_memory_gib"] = peak_memory(model.device)
    result["logit_difference"] = difference
    print_measurement(name, result)
    return result


def summarize(rounds: list[Round], floor: float, windows: tuple[int, ...]) -> dict[str, Any]:
    """Medians over rounds; `floor`: seconds per code that reading the weights takes."""
    median = statistics.median
    naive = median(round.naive.seconds for round in rounds)
    ours = median(round.ours.seconds for round in rounds)
    ratios = {window: median(round.ours.seconds / round.jacobi[window] for round in rounds) for window in windows}
    result: dict[str, Any] = {
        "sequential_over_naive": median(round.naive.seconds / round.ours.seconds for round in rounds),
        "jacobi_by_window": ratios,
        "best_exact_over_naive": median(round.naive.seconds / round.best for round in rounds),
        "naive_tokens_per_s": 1 / naive,
        "sequential_tokens_per_s": 1 / ours,
        "naive_first_code_s": median(round.naive.first for round in rounds),
        "first_code_s": median(round.ours.first for round in rounds),
        "floor_ms": 1e3 * floor,
        "percent_of_floor": 100 * floor / ours,
    }
    if ratios:
        best = max(ratios, key=ratios.__getitem__)
        result |= {"jacobi_over_sequential": ratios[best], "jacobi_best_window": best}
    return result


def print_measurement(name: str, result: dict[str, Any]) -> None:
    """Print what was measured in one precision."""
    print(
        f"{name}: {result['sequential_over_naive']:.2f}x; upstream's way {result['naive_tokens_per_s']:.1f} tokens/s, "
        f"ours {result['sequential_tokens_per_s']:.1f} tokens/s (floor {result['floor_ms']:.1f} ms per token, "
        f"{result['percent_of_floor']:.0f} % of it reached; logits agree to {result['logit_difference']:.1g} sd); "
        f"first code after {result['first_code_s']:.2f} s, upstream's way {result['naive_first_code_s']:.2f} s"
    )
    if result["peak_memory_gib"]:
        peak = f"{result['peak_memory_gib']:.2f} GiB"
        print(f"{name}: peak memory so far {peak}, both ways and the benchmark itself included")
    if result["jacobi_by_window"]:
        listed = [
            f"window {window} {ratio:.2f}x (at {CODES_PER_STEP[window]} tokens per step, simulated)"
            for window, ratio in result["jacobi_by_window"].items()
        ]
        print(f"{name}: Jacobi over sequential: {', '.join(listed)}")
    print(f"{name}: best exact setting over upstream's way {result['best_exact_over_naive']:.2f}x", flush=True)


def all_precisions(
    model: Model, tokens: int, repetitions: int, read_speed: float, quick: bool
) -> dict[str, dict[str, Any]]:
    """In this order, because a model turned into one type does not turn back; `quick` is without the slow 4-bit."""
    windows: tuple[int, ...] = WINDOWS[1:]
    schemes = tuple(SCHEMES)
    windows_quantized = windows
    if quick:
        windows = (16, 64)
        schemes = ("int8",)
        windows_quantized = ()
    results = {}
    for name, dtype in DTYPES.items():
        baseline = model.to(dtype)
        results[name] = measure_precision(name, baseline, baseline, tokens, repetitions, read_speed, windows)
    for scheme in schemes:
        small = Model.random(model.device, model.settings.size[0]).to(dtype, scheme)
        results[scheme] = measure_precision(scheme, small, baseline, tokens, repetitions, read_speed, windows_quantized)
    return results


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="16 tokens, 3 repetitions, two windows instead of 64, 9 and all; under 50 s on two cores",
    )
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--plot", type=Path, help="draw the ratios into this picture")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--size", type=int, default=512, help="side of the image in pixels (512)")
    parser.add_argument("--memory-cap", type=float, metavar="GB", help="CUDA: use no more memory than this")
    return parser.parse_args()


def main() -> None:
    chosen = parse_arguments()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = default_device()
    if chosen.memory_cap:
        limit_memory(device, chosen.memory_cap)
    tokens = 64
    repetitions = 9
    windows: tuple[int, ...] = WINDOWS
    if chosen.quick:
        tokens = 16
        repetitions = 3
        windows = (1, 16)
    model = Model.random(device, chosen.size)
    read_speed = bandwidth(device)
    size = model.settings.describe()["size"]
    layer_weights = model.layer_weights
    print(machine(device))
    print(
        f"read bandwidth {read_speed / 1e9:.1f} GB/s; {layer_weights / 1e6:.0f}M layer parameters; first "
        f"{tokens} codes of a {size} image after {len(PROMPT)} prompt tokens, guidance on, "
        f"median of {repetitions} alternating repetitions",
        flush=True,
    )
    results = all_precisions(model, tokens, repetitions, read_speed, chosen.quick)
    steps = count_steps(windows)
    for window, found in steps.items():
        print(
            f"miniature at guidance {MINIATURE_CFG:g}, window {window}: {found['steps_per_image']:.0f} steps per "
            f"image, {found['steps_ratio']:.2f}x fewer, {found['time_ratio']:.2f}x faster than sequential"
        )
    usual = results["bf16"]  # what `ARModel.load` takes on this device
    if device.type == "cpu":
        usual = results["fp32"]
    summary = {
        "sequential_over_naive": usual["sequential_over_naive"],
        "jacobi_over_sequential": usual["jacobi_over_sequential"],
        "steps_ratio_miniature": steps[16]["steps_ratio"],
        "miniature_by_window": steps,
        "machine": machine(device),
        "read_gb_per_s": read_speed / 1e9,
        "layer_parameters": layer_weights,
        "tokens": tokens,
        "size": size,
        "repetitions": repetitions,
        **results,
    }
    if chosen.json:
        write_json(chosen.json, summary)
    if chosen.plot:
        write_image(chosen.plot, draw_ratios(summary))


if __name__ == "__main__":
    main()
