"""Plain auto-regressive decoding: one code per forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from .engine import Engine
from .rule import draw, probabilities
from .settings import SamplingSettings, uniforms

OnRow = Callable[[Tensor, int], None]  # codes (images, rows, columns), of which so many rows are final


@dataclass(frozen=True, eq=False)
class Decoded:
    """Codes (images, rows, columns), int64 on the CPU, and the forward passes that they took after the prompt."""

    codes: Tensor
    steps: int


@torch.inference_mode()
def decode(
    engine: Engine,
    settings: SamplingSettings,
    *,
    first_image: int = 0,
    progress: Progress = silent,
    cancel: Cancel = never,
    on_row: OnRow | None = None,
) -> Decoded:
    """One code of every image per step.

    Image k of the batch uses the random numbers of image `first_image` + k. The end of a row is forced: its
    token rides along with the row's last code and never costs a forward pass.
    """
    grid_rows, columns = engine.protocol.grid(settings.size)
    total = grid_rows * columns
    numbers = torch.stack([uniforms(settings.seed, first_image + k, total) for k in range(engine.images)])
    numbers = numbers.to(engine.device)
    codes = torch.zeros(engine.images, total, dtype=torch.long, device=engine.device)
    row_end = torch.full((engine.images, 1), engine.protocol.row_end, device=engine.device)
    logits = engine.prefill()
    for index in range(total):
        stop_if(cancel)
        codes[:, index] = draw(probabilities(logits, settings.top_k, settings.temperature), numbers[:, index])
        progress(index + 1, total, "sampling")
        row_is_full = (index + 1) % columns == 0
        if row_is_full and on_row is not None:
            on_row(codes.view(-1, grid_rows, columns), (index + 1) // columns)
        if index + 1 < total:
            token = codes[:, index : index + 1] + engine.protocol.code_base
            logits = engine.advance(torch.cat([token, row_end], 1) if row_is_full else token)[:, -1]
    return Decoded(codes.view(-1, grid_rows, columns).cpu(), total)
