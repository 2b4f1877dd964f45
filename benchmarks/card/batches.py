"""Batches of pictures as DreamBench draws them: milliseconds per code, and memory beside what was computed."""

from __future__ import annotations

from ar_core.devices import free_memory, is_out_of_memory
from ar_core.memory import picture_bytes

from ..common.machine import default_device
from ..random_checkpoint import protocol_of
from .random_model import FAMILIES, random_transformer, tokenizer_dimensions
from .rows import row
from .steps import step_seconds
from .training import held_bytes, peak_bytes

PIXELS = 768


def run() -> None:
    device = default_device()
    model = random_transformer()
    protocol = protocol_of(FAMILIES[PIXELS])
    row(free_gib=(free_memory(device) or 0) / 2**30)
    for images in (1, 2, 4, 8):
        computed = picture_bytes(model, tokenizer_dimensions(), protocol, (PIXELS, PIXELS), images, 4.0, previews=False)
        before = held_bytes(device)
        try:
            seconds = step_seconds(model, PIXELS, images, 16)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            row(pictures=images, computed_gib=computed / 2**30, out_of_memory=str(error)[:100])
            continue
        row(
            pictures=images,
            ms_per_step=1e3 * seconds,
            ms_per_step_and_picture=1e3 * seconds / images,
            peak_gib=(peak_bytes(device) - before) / 2**30,
            computed_gib=computed / 2**30,
        )
