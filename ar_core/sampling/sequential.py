"""Plain auto-regressive decoding: one code per forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from .engine import Engine
from .rule import code_probabilities, draw_code
from .settings import SamplingSettings, code_uniforms

OnRow = Callable[[Tensor, int], None]  # codes (images, rows, columns), of which so many rows are final


@dataclass(frozen=True, eq=False)
class Decoded:
    """Codes (images, rows, columns), int64 on the CPU, and the forward passes that they took after the prompt."""

    codes: Tensor
    steps: int


@torch.inference_mode()
def decode_sequentially(
    engine: Engine,
    settings: SamplingSettings,
    *,
    first_image: int = 0,
    progress: Progress = silent,
    cancel: Cancel = never,
    on_row: OnRow | None = None,
) -> Decoded:
    """One code of every image per step.

    Image k of the batch uses the random numbers of image `first_image` + k. A row end is not drawn but forced: its
    token rides along with the row's last code and never costs a forward pass.
    """
    layout = engine.layout
    total = layout.codes
    numbers = torch.stack([code_uniforms(settings.seed, first_image + k, total) for k in range(engine.images)])
    numbers = numbers.to(engine.device)  # (images, codes of a picture)
    codes = torch.zeros(engine.images, total, dtype=torch.long, device=engine.device)
    picture = codes.view(-1, layout.rows, layout.columns)
    logits = engine.prefill()  # (images, codes of the vocabulary)
    for index in range(total):
        stop_if(cancel)
        codes[:, index] = draw_code(code_probabilities(logits, settings.top_k, settings.temperature), numbers[:, index])
        done = index + 1
        progress(done, total, "sampling")
        row_is_full = done % layout.columns == 0
        if row_is_full and on_row is not None:
            on_row(picture, done // layout.columns)
        if done < total:
            tokens = codes[:, index:done] + engine.protocol.code_base  # (images, 1)
            if row_is_full and layout.row_end is not None:
                tokens = torch.cat([tokens, torch.full_like(tokens, layout.row_end)], 1)
            logits = engine.advance(tokens)[:, -1]
    return Decoded(picture.cpu(), total)
