"""Trains the miniature's image tokenizer on drawn scenes.

The first steps run without quantisation; k-means of what the encoder then produces is the first codebook, which follows
the encoder from there on (codebook.py). In the last steps encoder and codebook stand still and the decoder alone adapts
to them: codes are final from there on.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ar_core.image_tokenizer.vqgan import ImageTokenizer

from . import plans
from .codebook import MovingAverageCodebook
from .drawings import Drawings
from .loop import Log, Step, Training, with_peak
from .place import Place
from .plans import Lessons
from .schedules import warm_up_and_fall

UNQUANTISED = 0.06  # share of the steps before the codebook exists
FINAL_CODES = 0.92  # share of the steps after which only the decoder learns
COMMITMENT = 0.25  # weight of the loss that keeps latents near their codes
FRESH = 0.5  # share of a batch by which the drawn scenes grow with every step: whoever draws keeps up
CHECKPOINT = "image_tokenizer_training.safetensors"


class Scenes:
    """Batch number `step` of drawn scenes, always the same, from those that were drawn by then."""

    def __init__(self, drawings: Drawings, batch: int, seed: int):
        self.drawings = drawings
        self.batch = batch
        self.seed = seed

    def __call__(self, step: int) -> Tensor:
        """(B, height, width, 3), uint8"""
        known = min(self.drawings.count, round((4 + FRESH * step) * self.batch))
        self.drawings.wait(known)
        chosen = np.random.default_rng([self.seed, step]).integers(known, size=self.batch)
        return torch.from_numpy(self.drawings.pixels[chosen])


def train_image_tokenizer(
    folder: Path, scenes: Scenes, lessons: Lessons, place: Place, seed: int = 0, log: Log = print
) -> ImageTokenizer:
    """Train all of `lessons`, checkpointing into `folder`, and go on from a checkpoint there."""
    torch.manual_seed(seed)
    model = ImageTokenizer(plans.IMAGE_TOKENIZER)
    model.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    steps = Steps(model, scenes, lessons.steps, place, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.01)
    training = Training(
        model,
        [with_peak(optimizer, lessons.rate)],
        folder / CHECKPOINT,
        lessons.steps,
        steps.compute,
        schedule=lambda step: image_tokenizer_schedule(step, lessons.steps),
        clip_norm=1.0,
        extra=steps.codebook.state(),
        log=log,
        describe=steps.describe,
        place=place,
    )
    training.run(training.resume())
    return model.eval()


class Steps:
    """The forward pass of every step, and the codebook that follows it."""

    def __init__(self, model: ImageTokenizer, scenes: Scenes, steps: int, place: Place, seed: int):
        self.model = model
        self.scenes = scenes
        self.steps = steps
        self.place = place
        self.seed = seed
        self.codebook = MovingAverageCodebook(model.quantize.embedding.weight)
        self.commitment = torch.zeros((), device=place.device)  # of the newest step

    def compute(self, step: int) -> Step:
        """Encode, quantise, decode."""
        batch = self.scenes(step).to(self.place.device, non_blocking=True)
        pixels = (batch.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        quantising = step >= int(UNQUANTISED * self.steps)
        final = step >= int(FINAL_CODES * self.steps)
        with self.place.autocast(), torch.set_grad_enabled(not final):
            latents = self.model.latents(pixels)
        latents = latents.float()  # (B, d, rows, columns)
        commitment = torch.zeros_like(self.commitment)
        if quantising:
            if not self.codebook.ready:
                self.codebook.initialise(rows_of(latents), torch.Generator().manual_seed(self.seed))
            codes = self.model.quantize.nearest(latents.detach())
            nearest = self.model.quantize.embedding(codes).movedim(-1, 1).detach()
            if not final:
                self.codebook.update(rows_of(latents.detach()), codes.flatten(), step)
            commitment = F.mse_loss(latents, nearest)
            latents = latents + (nearest - latents).detach()  # straight-through estimator
        with self.place.autocast():
            output = self.model.reconstruct(latents)
        loss, mse = reconstruction_loss(output.float(), pixels)
        self.commitment = commitment.detach()
        return Step(loss + COMMITMENT * commitment, mse)

    def describe(self, mse: float) -> str:
        """For the log."""
        return f"PSNR {psnr(mse):.2f} commitment {float(self.commitment):.4f} codes in use {self.codebook.in_use}"


def image_tokenizer_schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then constant, then linear towards zero over the last 40 %."""
    return warm_up_and_fall(step, steps, 100, 0.4 * steps)


def reconstruction_loss(output: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """L1 + MSE on pixels and L1 on their differences to neighbours (edges); also the MSE in -1..1 units."""
    mse = F.mse_loss(output, pixels)
    edges = F.l1_loss(output.diff(dim=2), pixels.diff(dim=2)) + F.l1_loss(output.diff(dim=3), pixels.diff(dim=3))
    return F.l1_loss(output, pixels) + 2 * mse + 0.5 * edges, mse.detach()


def psnr(mse: float) -> float:
    """Decibels for a mean squared error measured on pixels in -1..1."""
    return 10 * math.log10(4 / max(mse, 1e-9))


def rows_of(latents: Tensor) -> Tensor:
    """(B, d, rows, columns) -> (B * rows * columns, d)"""
    return latents.movedim(1, -1).reshape(-1, latents.shape[1])
