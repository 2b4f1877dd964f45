"""Recorded and compiled CUDA steps against plain ones: `python -m benchmarks.decode --graphs`."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import torch

from ar_core.quantization import SCHEMES
from ar_core.sampling import graphs, jacobi, sequential
from ar_core.sampling.settings import WINDOWS

from .machine import machine, peak_memory
from .timing import time_jacobi, time_ours
from .upstream import Model

TOKENS = 64
WAYS = {
    "plain": {},
    "recorded": {"graphs": True},
    "compiled": {"compiled": True},
    "both": {"graphs": True, "compiled": True},
}


def check(device: torch.device, pixels: int) -> None:
    """Are the codes of a whole picture equal, what does a recording cost, and how much faster are steps recorded, compiled, or both?"""
    if device.type != "cuda":
        raise SystemExit("--graphs needs CUDA: there is no graphics card here, so nothing was compared.")
    print(machine(device))
    for name, scheme in (("bf16", None), *((scheme, scheme) for scheme in SCHEMES)):
        model = Model.random(device, pixels).to(torch.bfloat16, scheme)
        for window in (1, max(WINDOWS)):
            report(f"{name}, window {window}", model, window)


def report(title: str, model: Model, window: int) -> None:
    plain = whole_picture(model, window, model.engine(window))
    engine = model.engine(window, graphs=True)
    engine.graphs.capture = capture = TimedCapture()
    equal = float((whole_picture(model, window, engine) == plain).float().mean())
    seconds = {name: time(model, window, **options) for name, options in WAYS.items()}
    faster = ", ".join(
        f"{name} {seconds['plain'] / taken:.2f}x faster" for name, taken in seconds.items() if name != "plain"
    )
    print(
        f"{title}: {faster}; {100 * equal:.1f} % equal codes when recorded, {len(capture.seconds)} recordings of "
        f"{1e3 * sum(capture.seconds) / max(1, len(capture.seconds)):.0f} ms, peak memory {peak_memory(model.device):.2f} GiB",
        flush=True,
    )


def time(model: Model, window: int, **options: bool) -> float:
    """Seconds per code, after a first run that compiles."""

    def once() -> float:
        if window == 1:
            return time_ours(model, TOKENS, **options).seconds
        return time_jacobi(model, window, TOKENS, **options)

    return [once(), once()][-1]


def whole_picture(model: Model, window: int, engine) -> torch.Tensor:
    settings = replace(model.settings, window=window)
    way = sequential.decode if window == 1 else jacobi.decode
    return way(engine, settings).codes


class TimedCapture(graphs.CudaCapture):
    """torch's capture, with the seconds that each took."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def __call__(self, step):
        torch.cuda.synchronize()
        start = perf_counter()
        recorded = super().__call__(step)
        torch.cuda.synchronize()
        self.seconds.append(perf_counter() - start)
        return recorded
