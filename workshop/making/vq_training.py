"""Trains the miniature's image tokenizer on drawn scenes.

The codebook follows an exponential moving average of the vectors assigned to each row (van den Oord et al.
2017, appendix A.1) and rows that nobody uses are moved onto current vectors. The first steps run without
quantisation; k-means of what the encoder then produces is the first codebook. In the last steps encoder and
codebook stand still and the decoder alone adapts to them: codes are final from there on.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from ar_core.architecture import ImageTokenizerConfig
from ar_core.image_tokenizer.vqgan import ImageTokenizer

from ..world.drawing import draw
from ..world.scenes import random_scene, wild_scene
from .checkpointing import load_training, save_training

CONFIG = ImageTokenizerConfig(
    ch=64, ch_mult=(1, 2), num_res_blocks=1, z_channels=128, embed_dim=16, n_embed=1024, patch=3, norm_groups=8
)
BATCH = 16
UNQUANTISED = 0.06  # share of the steps before the codebook exists
FINAL_CODES = 0.92  # share of the steps after which only the decoder learns
WILD = 0.25  # share of scenes with colours and shapes outside the captioned world


class SceneImages(Dataset):
    """Scene number `i`, always the same, as uint8 (96, 96, 3)."""

    def __init__(self, count: int, seed: int, size: int = 96):
        self.count, self.seed, self.size = count, seed, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = random.Random(f"vq {self.seed} {index}")
        scene = wild_scene(rng) if rng.random() < WILD else random_scene(rng)
        return torch.from_numpy(np.array(draw(scene, self.size)))


def train(folder: Path, images: int, seed: int = 0, log=print) -> ImageTokenizer:
    """Train on `images` scenes, checkpointing into `folder`, and go on from a checkpoint there."""
    torch.manual_seed(seed)
    model = ImageTokenizer(CONFIG).to(memory_format=torch.channels_last)
    codebook = MovingAverageCodebook(model.quantize.embedding.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.01)
    steps, start = images // BATCH, 0
    path = folder / "vq_training.safetensors"
    if path.exists():
        start = load_training(path, model, [optimizer], codebook.state())
    data = torch.utils.data.Subset(SceneImages(images, seed), range(start * BATCH, steps * BATCH))
    loader = DataLoader(data, BATCH, num_workers=1, prefetch_factor=16)
    average = None
    for step, batch in enumerate(loader, start):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * schedule(step, steps)
        pixels = (batch.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        quantising, final = step >= int(UNQUANTISED * steps), step >= int(FINAL_CODES * steps)
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(not final):
            latents = model.latents(pixels)
        latents = latents.float()
        if quantising and not codebook.ready:
            codebook.initialise(flat(latents), torch.Generator().manual_seed(seed))
        commitment = torch.zeros(())
        if quantising:
            codes = model.quantize.nearest(latents.detach())
            rows = model.quantize.embedding(codes).movedim(-1, 1).detach()
            if not final:
                codebook.update(flat(latents.detach()), codes.flatten(), step)
            commitment = F.mse_loss(latents, rows)
            latents = latents + (rows - latents).detach()  # straight-through estimator
        with torch.autocast("cpu", torch.bfloat16):
            output = model.reconstruct(latents)
        loss, mse = reconstruction_loss(output.float(), pixels)
        optimizer.zero_grad()
        (loss + 0.25 * commitment).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average = mse if average is None else 0.98 * average + 0.02 * mse
        if step % 50 == 0:
            log(
                f"vq step {step}/{steps} PSNR {psnr(average):.2f} commitment {commitment.item():.4f} codes in use {codebook.in_use}"
            )
        if step % 500 == 499:
            save_training(path, step + 1, steps, model, [optimizer], codebook.state())
    save_training(path, steps, steps, model, [optimizer], codebook.state())
    return model.eval()


def schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then constant, then linear to zero over the last 40 %."""
    return min(1.0, (step + 1) / 100, max(0.01, (steps - step) / (0.4 * steps)))


def reconstruction_loss(output: Tensor, pixels: Tensor) -> tuple[Tensor, float]:
    """L1 + MSE on pixels and L1 on their differences to neighbours (edges); also the MSE in -1..1 units."""
    mse = F.mse_loss(output, pixels)
    edges = sum(F.l1_loss(output.diff(dim=d), pixels.diff(dim=d)) for d in (2, 3))
    return F.l1_loss(output, pixels) + 2 * mse + 0.5 * edges, mse.item()


def psnr(mse: float) -> float:
    """Decibels for a mean squared error measured on pixels in -1..1."""
    return 10 * math.log10(4 / max(mse, 1e-9))


def flat(latents: Tensor) -> Tensor:
    return latents.movedim(1, -1).reshape(-1, latents.shape[1])


class MovingAverageCodebook:
    """Keeps codebook rows at the moving average of the vectors assigned to them."""

    def __init__(self, rows: Tensor, decay: float = 0.99):
        rows.requires_grad_(False)
        self.rows, self.decay = rows.data, decay
        self.counts = torch.zeros(len(rows))
        self.sums = torch.zeros_like(self.rows)

    @property
    def ready(self) -> bool:
        return bool(self.counts.sum() > 0)

    @property
    def in_use(self) -> int:
        return int((self.counts > 0.5).sum())

    def state(self) -> dict[str, Tensor]:
        return {"counts": self.counts, "sums": self.sums}

    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        """k-means over the given vectors."""
        vectors = vectors.detach()
        self.rows.copy_(vectors[torch.randperm(len(vectors), generator=generator)[: len(self.rows)]])
        for _ in range(10):
            nearest = torch.cdist(vectors, self.rows).argmin(1)
            counts = torch.bincount(nearest, minlength=len(self.rows)).float()
            sums = torch.zeros_like(self.rows).index_add_(0, nearest, vectors)
            used = counts > 0
            self.rows[used] = sums[used] / counts[used, None]
        self.counts.copy_(counts.clamp_min(1))
        self.sums.copy_(self.rows * self.counts[:, None])

    def update(self, vectors: Tensor, codes: Tensor, seed: int = 0) -> None:
        """Move rows towards their vectors; `seed` draws where rows that nobody uses restart."""
        counts = torch.bincount(codes, minlength=len(self.rows)).float()
        sums = torch.zeros_like(self.rows).index_add_(0, codes, vectors)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        dead = self.counts < 0.05
        if dead.any():  # restart them where vectors are now
            generator = torch.Generator().manual_seed(seed)
            chosen = vectors[torch.randint(len(vectors), (int(dead.sum()),), generator=generator)]
            self.counts[dead], self.sums[dead] = 1.0, chosen
        self.rows.copy_(self.sums / self.counts[:, None])
