"""Drawing many pictures, as many at a time as fit into the memory that is free."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from .control import Cancel, Progress, never, silent
from .devices import is_out_of_memory
from .families.protocol import Size
from .memory import NotEnough, drawing_bytes, room, size_text
from .model import ARModel, Generated
from .sampling import SamplingSettings

BATCH = 8  # pictures drawn at once, at most

log = logging.getLogger(__name__)


def draw_in_batches(
    model: ARModel,
    prompts: Sequence[str],
    settings: SamplingSettings,
    *,
    done: int = 0,
    first_image: int = 0,
    most: int | None = None,
    progress: Progress = silent,
    cancel: Cancel = never,
    **options: Any,
) -> Iterator[list[Generated]]:
    """The pictures of `prompts` from number `done` on, in parts.

    Picture k has the random numbers of image `first_image` + k.

    `most` of them (None: `BATCH`) are a batch, which is drawn in parts where it does not fit. Its window does not
    depend on that, so a smaller card draws the same pictures, but for a few that rounding sends another way. `options`:
    others of `ARModel.generate`. Raises NotEnough where not even one fits, TextError and Cancelled.
    """
    if most is None:
        most = BATCH
    if most < 1 or done < 0:
        raise ValueError(f"Pictures are drawn one at a time or more, from number 0 on, not {most} from number {done}.")
    limit = most
    for first in range(done - done % most, len(prompts), most):
        batch = prompts[first : first + most]
        chosen = replace(settings, window=settings.window or model.auto_window(len(batch)))
        start = max(0, done - first)
        if start == len(batch):
            continue
        fit = min(limit, fitting_images(model, settings.size, settings.cfg, len(batch) - start))
        while start < len(batch):
            part = batch[start : start + fit]
            try:
                images = model.generate(
                    part, chosen, first_image=first_image + first + start, progress=progress, cancel=cancel, **options
                )
            except RuntimeError as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                fit = len(part) // 2  # something else has taken memory since it was counted
                limit = fit
                log.warning("Memory ran out: pictures are drawn %d at a time from here on", fit)
                continue
            yield images
            start += len(images)


def fitting_images(model: ARModel, size: Size, cfg: float, most: int, more: int = 0) -> int:
    """How many pictures of `size`, up to `most`, can be drawn at once now, with `more` bytes beside them.

    Raises NotEnough where none can.
    """
    free = room(model.device)
    if free is None:
        return most
    free += model.kept_bytes  # of recorded steps, which the next picture takes over or gives back
    for count in range(most, 0, -1):
        needed = more + drawing_bytes(model, size, count, cfg, previews=False)
        if needed <= free:
            if count < most:
                log.info("Pictures are drawn %d at a time instead of %d: more do not fit", count, most)
            return count
    raise NotEnough(
        f"A picture of {size[0]}x{size[1]} needs {size_text(needed)} of memory beside the model, {size_text(free)} are "
        f"free on {model.device}. Load the model in int8 or 4-bit, or choose a smaller size."
    )
