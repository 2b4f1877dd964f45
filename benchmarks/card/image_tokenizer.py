"""Reading and drawing pictures with the image tokenizer of full size: seconds, and memory beside what was computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.memory import image_bytes

from ..common.machine import default_device, seconds_when_finished
from .random_model import is_rehearsal, tokenizer_dimensions
from .rows import row
from .training import held_bytes, peak_bytes


def run() -> None:
    device = default_device()
    config = tokenizer_dimensions()
    tokenizer = ImageTokenizer(config, device=device).requires_grad_(False).eval()
    sides: tuple[int, ...] = (512, 768, 1024)
    if is_rehearsal():
        sides = (64,)
    for side in sides:
        picture = torch.rand(1, side, side, 3, device=device)
        codes = torch.zeros(1, side // config.factor, side // config.factor, dtype=torch.long, device=device)
        measure("read", side, partial(tokenizer.encode, picture), image_bytes(config, (side, side)))
        measure("draw", side, partial(tokenizer.decode, codes), image_bytes(config, (side, side)))


def measure(what: str, side: int, work: Callable[[], object], computed: int) -> None:
    """Print seconds and memory of `work`, the second time that it is done."""
    device = default_device()
    before = held_bytes(device)
    with torch.inference_mode():
        work()
        began = seconds_when_finished(device)
        work()
        taken = seconds_when_finished(device) - began
    row(
        side=side,
        what=what,
        seconds=taken,
        peak_gib=(peak_bytes(device) - before) / 2**30,
        computed_gib=computed / 2**30,
    )
