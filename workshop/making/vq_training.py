"""Trains the miniature's image tokenizer on drawn scenes.

The first steps run without quantisation; k-means of what the encoder then produces is the first codebook, which follows
the encoder from there on (codebook.py). In the last steps encoder and codebook stand still and the decoder alone adapts
to them: codes are final from there on.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

from ar_core.architecture import ImageTokenizerConfig
from ar_core.image_tokenizer.vqgan import ImageTokenizer

from ..world.drawing import draw_scene
from ..world.training_scenes import training_scene, wild_scene
from .codebook import MovingAverageCodebook
from .loop import Log, Step, Training, with_peak
from .schedules import warm_up_and_fall

CONFIG = ImageTokenizerConfig(
    ch=64, ch_mult=(1, 2), num_res_blocks=1, z_channels=128, embed_dim=16, n_embed=1024, patch=3, norm_groups=8
)
BATCH = 16
UNQUANTISED = 0.06  # share of the steps before the codebook exists
FINAL_CODES = 0.92  # share of the steps after which only the decoder learns
LEARNING_RATE = 1e-3
COMMITMENT = 0.25  # weight of the loss that keeps latents near their codes
WILD = 0.25  # share of scenes with colours and shapes outside the captioned world


class SceneImages(Dataset[Tensor]):
    """Scene number `i`, always the same, as uint8 (96, 96, 3)."""

    def __init__(self, count: int, seed: int, size: int = 96):
        self.count = count
        self.seed = seed
        self.size = size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        rng = random.Random(f"vq {self.seed} {index}")
        draw_lot = training_scene
        if rng.random() < WILD:
            draw_lot = wild_scene
        return torch.from_numpy(np.array(draw_scene(draw_lot(rng), self.size)))


def train_image_tokenizer(folder: Path, images: int, seed: int = 0, log: Log = print) -> ImageTokenizer:
    """Train on `images` scenes, checkpointing into `folder`, and go on from a checkpoint there."""
    torch.manual_seed(seed)
    model = ImageTokenizer(CONFIG)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a form that torch's types lack
    lessons = Lessons(model, images // BATCH, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.01)
    training = Training(
        model,
        [with_peak(optimizer, LEARNING_RATE)],
        folder / "vq_training.safetensors",
        lessons.steps,
        lessons.compute,
        schedule=lambda step: image_tokenizer_schedule(step, lessons.steps),
        clip_norm=1.0,
        extra=lessons.codebook.state(),
        log=log,
        describe=lessons.describe,
        log_every=50,
        save_every=500,
    )
    start = training.resume()
    lessons.open(start)
    training.run(start)
    return model.eval()


class Lessons:
    """The forward pass of every step, and the codebook that follows it."""

    def __init__(self, model: ImageTokenizer, steps: int, seed: int):
        self.model = model
        self.steps = steps
        self.seed = seed
        self.codebook = MovingAverageCodebook(model.quantize.embedding.weight)
        self.commitment = 0.0  # of the newest step

    def open(self, start: int) -> None:
        """Get ready to read the pictures of step `start` and those after it."""
        images = SceneImages(self.steps * BATCH, self.seed)
        data = Subset(images, range(start * BATCH, self.steps * BATCH))
        self.batches = iter(DataLoader(data, BATCH, num_workers=1, prefetch_factor=16))

    def compute(self, step: int) -> Step:
        """Encode, quantise, decode."""
        batch = next(self.batches)  # (B, H, W, 3), uint8
        pixels = (batch.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        quantising = step >= int(UNQUANTISED * self.steps)
        final = step >= int(FINAL_CODES * self.steps)
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(not final):
            latents = self.model.latents(pixels)
        latents = latents.float()  # (B, d, rows, columns)
        commitment = torch.zeros(())
        if quantising:
            if not self.codebook.ready:
                self.codebook.initialise(vq_training_vectors(latents), torch.Generator().manual_seed(self.seed))
            codes = self.model.quantize.nearest(latents.detach())
            nearest = self.model.quantize.embedding(codes).movedim(-1, 1).detach()
            if not final:
                self.codebook.update(vq_training_vectors(latents.detach()), codes.flatten(), step)
            commitment = F.mse_loss(latents, nearest)
            latents = latents + (nearest - latents).detach()  # straight-through estimator
        with torch.autocast("cpu", torch.bfloat16):
            output = self.model.reconstruct(latents)
        loss, mse = reconstruction_loss(output.float(), pixels)
        self.commitment = commitment.item()
        return Step(loss + COMMITMENT * commitment, mse)

    def describe(self, mse: float) -> str:
        """For the log."""
        return f"PSNR {psnr(mse):.2f} commitment {self.commitment:.4f} codes in use {self.codebook.in_use}"


def image_tokenizer_schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then constant, then linear towards zero over the last 40 %."""
    return warm_up_and_fall(step, steps, 100, 0.4 * steps)


def reconstruction_loss(output: Tensor, pixels: Tensor) -> tuple[Tensor, float]:
    """L1 + MSE on pixels and L1 on their differences to neighbours (edges); also the MSE in -1..1 units."""
    mse = F.mse_loss(output, pixels)
    edges = F.l1_loss(output.diff(dim=2), pixels.diff(dim=2)) + F.l1_loss(output.diff(dim=3), pixels.diff(dim=3))
    return F.l1_loss(output, pixels) + 2 * mse + 0.5 * edges, mse.item()


def psnr(mse: float) -> float:
    """Decibels for a mean squared error measured on pixels in -1..1."""
    return 10 * math.log10(4 / max(mse, 1e-9))


def vq_training_vectors(latents: Tensor) -> Tensor:
    """(B, d, rows, columns) -> (B * rows * columns, d)"""
    return latents.movedim(1, -1).reshape(-1, latents.shape[1])
