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

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from .engine import Engine
from .rule import code_probabilities, draw_code
from .sequential import Decoded, OnRow
from .settings import SamplingSettings, seeded_generator, uniforms

BLOCK = 64  # steps for which random numbers are drawn at once

# p and q (images, window, codes), guesses (images, window), random numbers (images, window, 3) and positions
# (images, window) -> corrected guesses (images, window), and which of them were kept as they are
Coupling = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def speculative(p: Tensor, q: Tensor, guess: Tensor, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Keep a guess with probability min(1, p / q), else draw from what p has more than q: the result follows p."""
    index = guess[..., None]
    p_of_guess = p.gather(-1, index)[..., 0]
    q_of_guess = q.gather(-1, index)[..., 0]
    kept = numbers[..., 0] * q_of_guess < p_of_guess
    residual = (p - q).clamp_min(0)
    residual = torch.where(residual.sum(-1, keepdim=True) > 0, residual, p)
    return torch.where(kept, guess, draw_code(residual, numbers[..., 1])), kept


@dataclass(eq=False)
class Window:
    """The guesses for the positions behind an image's final tokens, and the distributions they were drawn from."""

    guess: Tensor  # (images, window), codes
    q: Tensor  # (images, window, codes)

    @classmethod
    def uniform(cls, images: int, window: int, codes: int, numbers: Tensor) -> Window:
        """Nothing is known yet: every code is equally likely. `numbers`: (images, window), in [0, 1)."""
        q = torch.full((images, window, codes), 1 / codes, dtype=torch.float32, device=numbers.device)
        return cls(draw_code(q, numbers), q)

    def shifted(self, p: Tensor, corrected: Tensor, accepted: Tensor, numbers: Tensor) -> Window:
        """The window `accepted` (images,) positions later.

        Guesses that stay inside were just drawn from p, so p is their q. Behind them new ones are drawn from the last
        p before them.
        """
        window = self.guess.shape[1]
        source = torch.arange(window, device=p.device) + accepted[:, None]  # where each place's content stands now
        inside = source < window
        source = source.clamp_max(window - 1)
        q = p.gather(1, source[..., None].expand_as(p))
        guess = torch.where(inside, corrected.gather(1, source), draw_code(q, numbers))
        return Window(guess, q)


@torch.inference_mode()
def decode_jacobi(
    engine: Engine,
    settings: SamplingSettings,
    *,
    first_image: int = 0,
    progress: Progress = silent,
    cancel: Cancel = never,
    on_row: OnRow | None = None,
    coupling: Coupling = speculative,
) -> Decoded:
    """As `decode_sequentially`, in fewer forward passes. `settings.window` positions are guessed at a time.

    `engine` must have been made with as many spare slots. The tokens are counted with the forced row ends among them:
    those are certain, take part in the window and cost no forward pass of their own.
    """
    layout = engine.layout
    length = layout.length
    width = settings.window
    ahead = torch.arange(width, device=engine.device)
    numbers = RandomNumbers(settings.seed, first_image, engine.images, width, engine.device)
    codes = torch.zeros(engine.images, length + width, dtype=torch.long, device=engine.device)
    done = torch.zeros(engine.images, dtype=torch.long, device=engine.device)  # final tokens of each image
    done_on_host = [0] * engine.images
    steps = 0

    engine.prefill()
    newest = engine.last_of_header()  # (images, 1), the last final token
    window = Window.uniform(engine.images, width, engine.protocol.codes, numbers.step(0)[..., 2])
    while min(done_on_host) < length:
        stop_if(cancel)
        drawn = numbers.step(steps + 1)
        positions = done[:, None] + ahead  # (images, window)

        # Step 1: one forward pass over the newest final token and all guesses but the last gives p for each guess.
        fed = torch.cat([newest, token_ids(engine, window.guess, positions)[:, :-1]], 1)
        logits = engine.look_ahead(fed, done, max(done_on_host))
        p = code_probabilities(logits, settings.top_k, settings.temperature)

        # Step 2: turn guesses, which are draws from q, into draws from p.
        corrected, kept = coupling(p, window.q, window.guess, drawn, positions)
        codes.scatter_(1, positions, corrected)  # beyond what is accepted they are overwritten until they are final

        # Step 3: accept the leading kept guesses and the first corrected one behind them.
        agreeing = (kept | layout.is_forced(positions)).int().cumprod(1).sum(1)
        accepted = (agreeing + 1).clamp_max(width).minimum(length - done)
        last = (accepted - 1).clamp_min(0)[:, None]
        newest = token_ids(engine, corrected.gather(1, last), done[:, None] + last)

        # Step 4: move the window on.
        window = window.shifted(p, corrected, accepted, drawn[..., 2])
        done = done + accepted
        rows_before = layout.finished_rows(min(done_on_host))
        done_on_host = done.tolist()
        steps += 1
        progress(min(done_on_host), length, "sampling")
        rows = layout.finished_rows(min(done_on_host))
        if on_row is not None and rows > rows_before:
            on_row(layout.grid(codes), rows)
    return Decoded(layout.grid(codes).cpu(), steps)


def token_ids(engine: Engine, codes: Tensor, positions: Tensor) -> Tensor:
    """The vocabulary's ids of `codes` at `positions`, both (images, T): row ends where those are forced."""
    ids = codes + engine.protocol.code_base
    row_end = engine.layout.row_end
    if row_end is None:
        return ids
    return torch.where(engine.layout.is_forced(positions), row_end, ids)


class RandomNumbers:
    """Numbers in [0, 1): three for every place in the window and step, from (seed, image) alone.

    They decide whether a guess is kept, what replaces it, and what is guessed anew.
    """

    def __init__(self, seed: int, first_image: int, images: int, window: int, device: torch.device):
        self.generators = [seeded_generator(f"jacobi {seed} {first_image + k}") for k in range(images)]
        self.window = window
        self.device = device
        self.block = -1

    def step(self, number: int) -> Tensor:
        """(images, window, 3) for a step; steps must be asked for in order."""
        block, index = divmod(number, BLOCK)
        if block > self.block:
            shape = (BLOCK, self.window, 3)
            drawn = [uniforms(generator, *shape) for generator in self.generators]
            self.numbers = torch.stack(drawn, 1).to(self.device)  # (BLOCK, images, window, 3)
            self.block = block
        return self.numbers[index]
