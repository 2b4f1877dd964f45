"""Steps through torch.compile: how much faster, and how long the first takes."""

from __future__ import annotations

import time

from ar_core.sampling.steps import StepOptions

from .random_model import random_transformer
from .rows import row
from .steps import step_seconds


def run() -> None:
    model = random_transformer()
    plain = step_seconds(model, 512, 1, 1)
    for name, options in (
        ("compiled", StepOptions(compiled=True)),
        ("compiled and recorded", StepOptions(compiled=True, graphs=True)),
    ):
        began = time.perf_counter()
        try:
            step_seconds(model, 512, 1, 1, options)
            first = time.perf_counter() - began
            seconds = step_seconds(model, 512, 1, 1, options)
        except Exception as error:  # torch.compile needs a C compiler or Triton, and has many ways to fail
            row(way=name, failed=f"{type(error).__name__}: {str(error)[:200]}")
            continue
        row(way=name, ms_per_step=1e3 * seconds, faster_than_plain=plain / seconds, first_s=first)
