"""Milliseconds of decoding steps of the 7B's dimensions in one precision, as a share of the measured bandwidth."""

from __future__ import annotations

from ar_core.families.lumina_mgpt import CODES_PER_STEP
from ar_core.model import PRECISIONS
from ar_core.quantization import QuantizationError
from ar_core.sampling import SamplingSettings
from ar_core.sampling.engine import Engine
from ar_core.sampling.steps import StepOptions
from ar_core.transformer import Transformer

from ..common.machine import bandwidth, default_device, peak_memory, reset_peak_memory
from ..common.timing import median_step_seconds
from ..random_checkpoint import protocol_of
from .random_model import FAMILIES, PROMPT, bytes_read, is_rehearsal, random_transformer
from .rows import row

CASES = ((768, 1, 1), (768, 1, 4), (768, 1, 16), (768, 1, 64), (768, 4, 1), (512, 1, 1), (512, 1, 64))


def run(precision: str) -> None:
    try:
        measure(precision)
    except QuantizationError as error:
        row(missing=str(error))


def measure(precision: str) -> None:
    """Raises QuantizationError, while loading or at the first step, where a package is missing."""
    device = default_device()
    speed = bandwidth(device)
    model = random_transformer(PRECISIONS[precision].quantized)
    read = bytes_read(model)
    row(bandwidth_tb_s=speed / 1e12, weights_gib=read / 2**30, floor_ms=1e3 * read / speed)
    for pixels, images, window in CASES:
        reset_peak_memory(device)
        seconds = step_seconds(model, pixels, images, window)
        codes = protocol_of(FAMILIES[pixels]).layout((pixels, pixels)).codes
        row(
            pixels=pixels,
            images=images,
            window=window,
            ms_per_step=1e3 * seconds,
            of_floor=read / speed / seconds,
            s_per_picture_simulated=seconds * codes / CODES_PER_STEP[window] / images,
            peak_gib=peak_memory(device),
        )


def step_seconds(
    model: Transformer, pixels: int, images: int, window: int, options: StepOptions | None = None
) -> float:
    """Median seconds of a step of `images` pictures with guidance."""
    family = FAMILIES[pixels]
    protocol = protocol_of(family)
    settings = SamplingSettings.resolve(family, window=window)
    ids = [PROMPT + protocol.header(settings.size)] * images
    engine = Engine(model, protocol, ids, settings.size, settings.cfg, spare=window, options=options)
    count = 24
    if is_rehearsal():
        count = 4
    return median_step_seconds(engine, settings, count)
