"""Coupled speculative Jacobi decoding: many positions per forward pass, exactly the distribution of one at a time.

A window of guessed tokens is fed at once. Every guess x was drawn from a known distribution q; the forward pass
gives the distribution p that it should have had, given the tokens before it. Speculative sampling (Leviathan et al.
2023, arXiv 2211.17192) turns a draw from q into one from p and keeps x as often as possible. The leading kept guesses
and the first corrected one are final: all that stood before them was final too. Those behind stay in the window as
better guesses, now drawn from p, so their q becomes that p. (Keeping the old q looks similar and is wrong.) Positions
that are new in the window are guessed from the p of the last one before them, for neighbours in a picture are alike.

Every image advances by its own count. Shapes never change; the host reads one small tensor per step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from .engine import Engine
from .rule import draw, probabilities
from .sequential import Decoded, OnRow
from .settings import SamplingSettings

BLOCK = 64  # steps for which random numbers are drawn at once

# p and q (images, window, codes), guesses, random numbers (images, window, 3), positions -> corrected tokens and which were kept
Coupling = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def speculative(p: Tensor, q: Tensor, guess: Tensor, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Keep a guess with probability min(1, p / q), else draw from what p has more than q: the result follows p."""
    at = guess[..., None]
    kept = numbers[..., 0] * q.gather(-1, at)[..., 0] < p.gather(-1, at)[..., 0]
    more = (p - q).clamp_min(0)
    more = torch.where(more.sum(-1, keepdim=True) > 0, more, p)
    return torch.where(kept, guess, draw(more, numbers[..., 1])), kept


@torch.inference_mode()
def decode(
    engine: Engine,
    settings: SamplingSettings,
    *,
    first_image: int = 0,
    progress: Progress = silent,
    cancel: Cancel = never,
    on_row: OnRow | None = None,
    coupling: Coupling = speculative,
) -> Decoded:
    """As `sequential.decode`, in fewer forward passes. `settings.window` positions are guessed at a time.

    `engine` must have been made with as many spare slots. The tokens are counted with the forced row ends among them:
    those are certain, take part in the window and cost no forward pass of their own.
    """
    window, codes = settings.window, engine.protocol.codes
    grid_rows, columns = engine.protocol.grid(settings.size)
    total = grid_rows * (columns + 1) - 1  # nothing follows the last row's end
    ahead = torch.arange(window, device=engine.device)
    numbers = RandomNumbers(settings.seed, first_image, engine.images, window, engine.device)
    tokens = torch.zeros(engine.images, total + window, dtype=torch.long, device=engine.device)
    done = torch.zeros(engine.images, dtype=torch.long, device=engine.device)

    def vocabulary(code: Tensor, position: Tensor) -> Tensor:
        return torch.where(is_row_end(position), engine.protocol.row_end, code + engine.protocol.code_base)

    def is_row_end(position: Tensor) -> Tensor:
        return (position + 1) % (columns + 1) == 0

    engine.prefill()
    newest = engine.last_of_header()
    q = torch.full(
        (engine.images, window, codes), 1 / codes, device=engine.device
    )  # nothing is known: every code equally likely
    guess = draw(q, numbers.step(0)[..., 2])
    finished, step = [0] * engine.images, 0
    while min(finished) < total:
        stop_if(cancel)
        positions = done[:, None] + ahead
        fed = torch.cat([newest, vocabulary(guess, positions)[:, :-1]], 1)
        p = probabilities(engine.look_ahead(fed, done, max(finished)), settings.top_k, settings.temperature)
        drawn = numbers.step(step + 1)
        corrected, kept = coupling(p, q, guess, drawn, positions)
        leading = (kept | is_row_end(positions)).int().cumprod(1).sum(1)
        count = (leading + 1).clamp_max(window).minimum(total - done)
        tokens.scatter_(1, positions, corrected)  # behind `count` these are guesses, overwritten until they are final

        at = (count - 1).clamp_min(0)[:, None]
        newest = vocabulary(corrected.gather(1, at), done[:, None] + at)
        done = done + count
        moved = ahead + count[:, None]
        inside, moved = moved < window, moved.clamp_max(window - 1)
        q = p.gather(1, moved[..., None].expand_as(p))
        guess = torch.where(inside, corrected.gather(1, moved), draw(q, drawn[..., 2]))

        before, finished, step = min(finished), done.tolist(), step + 1
        progress(min(finished), total, "sampling")
        rows = (min(finished) + 1) // (columns + 1)
        if on_row is not None and rows > (before + 1) // (columns + 1):
            on_row(as_grid(tokens, grid_rows, columns), rows)
    return Decoded(as_grid(tokens, grid_rows, columns).cpu(), step)


def as_grid(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Codes (images, rows, columns) of a stream with row ends in it."""
    return tokens[:, : rows * (columns + 1)].view(-1, rows, columns + 1)[..., :columns]


class RandomNumbers:
    """Numbers in [0, 1): three for every place in the window and step, from (seed, image) alone."""

    def __init__(self, seed: int, first_image: int, images: int, window: int, device: torch.device):
        self.generators = [_generator(seed, first_image + k) for k in range(images)]
        self.window, self.device, self.block = window, device, -1

    def step(self, number: int) -> Tensor:
        """(images, window, 3) for a step; steps must be asked for in order."""
        block, index = divmod(number, BLOCK)
        if block > self.block:
            drawn = [torch.rand(BLOCK, self.window, 3, generator=generator) for generator in self.generators]
            self.numbers, self.block = torch.stack(drawn, 1).to(self.device), block
        return self.numbers[index]


def _generator(seed: int, image: int) -> torch.Generator:
    key = hashlib.sha256(f"jacobi {seed} {image}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
