"""Do recorded (CUDA graphs) and compiled steps draw the same codes as plain ones, and how much faster are they?

    python -m benchmarks.graphs [--size PIXELS] [--memory-cap GB]

Needs a graphics card. The model has random weights: 101M parameters in its layers and Lumina's vocabulary.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ar_core.quantization import SCHEMES
from ar_core.sampling import graphs, jacobi, sequential
from ar_core.sampling.engine import Engine
from ar_core.sampling.settings import WINDOWS
from ar_core.sampling.steps import StepOptions

from .common.machine import default_device, limit_memory, machine, peak_text
from .common.timing import time_jacobi, time_ours
from .common.upstream import Model

TOKENS = 64
STEPS = {  # how steps are run
    "plain": StepOptions(),
    "recorded": StepOptions(graphs=True),
    "compiled": StepOptions(compiled=True),
    "both": StepOptions(graphs=True, compiled=True),
    "maskless": StepOptions(attention="lengths"),
    "maskless, recorded": StepOptions(graphs=True, attention="lengths"),
}


def report_window(title: str, model: Model, window: int) -> None:
    """Print what was compared with a window."""
    plain = whole_picture(model, window, model.engine(window))
    engine = model.engine(window, StepOptions(graphs=True))
    assert engine.steps.graphs is not None  # there is a card
    capture = TimedCapture()
    engine.steps.graphs.capture = capture
    equal = float((whole_picture(model, window, engine) == plain).float().mean())
    seconds = {name: time_steps(model, window, options) for name, options in STEPS.items()}
    faster = [f"{name} {seconds['plain'] / taken:.2f}x faster" for name, taken in seconds.items() if name != "plain"]
    milliseconds = 1e3 * sum(capture.seconds) / max(1, len(capture.seconds))
    print(
        f"{title}: {', '.join(faster)}; {100 * equal:.1f} % equal codes when recorded, "
        f"{len(capture.seconds)} recordings of {milliseconds:.0f} ms, {peak_text(model.device)}",
        flush=True,
    )


def time_steps(model: Model, window: int, options: StepOptions) -> float:
    """Seconds per code, of the second run: the first one compiles."""
    seconds = 0.0
    for _ in range(2):
        if window == 1:
            seconds = time_ours(model, TOKENS, options).seconds
        else:
            seconds = time_jacobi(model, window, TOKENS, options=options)
    return seconds


def whole_picture(model: Model, window: int, engine: Engine) -> Tensor:
    """Its codes."""
    settings = replace(model.settings, window=window)
    if window == 1:
        return sequential.decode_sequentially(engine, settings).codes
    return jacobi.decode_jacobi(engine, settings).codes


class TimedCapture(graphs.CudaCapture):
    """torch's capture, with the seconds that each took."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def __call__(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        torch.cuda.synchronize()
        start = time.perf_counter()
        recorded = super().__call__(step)
        torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - start)
        return recorded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="side of the image in pixels (512)")
    parser.add_argument("--memory-cap", type=float, metavar="GB", help="use no more memory than this")
    chosen = parser.parse_args()
    device = default_device()
    if device.type != "cuda":
        raise SystemExit("benchmarks.graphs needs CUDA: there is no graphics card here, so nothing was compared.")
    if chosen.memory_cap:
        limit_memory(device, chosen.memory_cap)
    print(machine(device))
    for name, scheme in (("bf16", None), *((scheme, scheme) for scheme in SCHEMES)):
        model = Model.random(device, chosen.size).to(torch.bfloat16, scheme)
        for window in (1, max(WINDOWS)):
            report_window(f"{name}, window {window}", model, window)


if __name__ == "__main__":
    main()
