"""Trains the miniature's transformer: captioned scenes as codes, next-code cross-entropy, from scratch.

Hidden matrices are trained with Muon, embeddings and norms with AdamW.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_core.files import atomic_write
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.transformer import Transformer

from . import plans
from .checkpointing import checkpoint_progress
from .drawings import Drawings, captioned
from .loop import Log, Step, Training, with_peak
from .muon import Muon
from .place import Place
from .plans import Lessons
from .schedules import warm_up_and_fall
from .sequences import SequenceBatch

ENCODED_AT_ONCE = 1024
CHECKPOINT = "transformer_training.safetensors"
PLATEAU = "transformer_plateau.safetensors"

logger = logging.getLogger(__name__)


def encode_scenes(tokenizer: ImageTokenizer, drawings: Drawings, place: Place, log: Log = print) -> Tensor:
    """Codes (N, rows, columns), int16, of the scenes that have captions; kept in the drawings' folder."""
    path = drawings.folder / "codes.npy"
    if path.exists():
        return torch.from_numpy(np.load(path)).to(place.device)
    numbers = captioned(drawings.count)
    found = []
    for start in range(0, len(numbers), ENCODED_AT_ONCE):
        block = numbers[start : start + ENCODED_AT_ONCE]
        drawings.wait(int(block[-1]) + 1)
        found.append(codes_of(tokenizer, torch.from_numpy(drawings.pixels[block]).to(place.device), place).short())
        if start % (32 * ENCODED_AT_ONCE) == 0:
            log(f"encoded {start + len(block)}/{len(numbers)}")
    codes = torch.cat(found)
    with atomic_write(path) as file:
        np.save(file, codes.cpu().numpy())
    return codes


@torch.no_grad()
def codes_of(tokenizer: ImageTokenizer, pictures: Tensor, place: Place) -> Tensor:
    """Codes (B, rows, columns) of uint8 pictures (B, height, width, 3)."""
    pixels = (pictures.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    with place.autocast():
        latents = tokenizer.latents(pixels)
    return tokenizer.quantize.nearest(latents.float())


def initialise_transformer(model: Transformer, seed: int) -> None:
    """Normal weights; those that write into the residual stream are smaller (Radford et al. 2019)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "norm" not in name:
            std = 0.02
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # what is added to the stream
                std = 0.02 / (2 * model.config.num_hidden_layers) ** 0.5
            nn.init.normal_(parameter, std=std, generator=generator)


class NextCode(nn.Module):
    """The mean cross-entropy of every code of a batch, as a module, so that it can be compiled as one."""

    def __init__(self, transformer: Transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, ids: Tensor, positions: Tensor, codes: Tensor) -> Tensor:
        """As in `SequenceBatch`."""
        hidden = self.transformer(self.transformer.embed(ids))
        before = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        logits = self.transformer.image_logits(before)
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten())


def train_transformer(
    folder: Path,
    batches: Callable[[int], SequenceBatch],
    lessons: Lessons,
    place: Place,
    seed: int = 0,
    log: Log = print,
) -> Transformer:
    """Train all of `lessons`, checkpointing into `folder`, and go on from a checkpoint there.

    The state before the learning rate starts to fall is kept: a later, longer training goes on from it.
    """
    model = Transformer(plans.TRANSFORMER)
    initialise_transformer(model, seed)
    model.to(place.device)
    next_code = place.compiled(NextCode(model))

    def compute(step: int) -> Step:
        batch = batches(step)
        with place.autocast():
            loss = next_code(batch.ids, batch.positions, batch.codes)
        return Step(loss, loss.detach())

    def on_step(done: int) -> None:
        if done == rate_falls_at(lessons.steps):
            training.save(folder / PLATEAU, done)

    training = Training(
        model,
        transformer_optimizers(model, lessons.rate),
        folder / CHECKPOINT,
        lessons.steps,
        compute,
        schedule=lambda step: transformer_schedule(step, lessons.steps),
        clip_norm=1.0,
        log=log,
        describe="loss {:.4f}".format,
        place=place,
        on_step=on_step,
    )
    start = 0
    resumed = resumable_checkpoint(folder / CHECKPOINT, folder / PLATEAU, lessons.steps)
    if resumed is not None:
        start = training.resume(resumed)
    training.run(start)
    return model.eval()


def transformer_optimizers(model: Transformer, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest."""
    hidden = [p for p in model.model.layers.parameters() if p.dim() == 2 and min(p.shape) > 1]
    others = [p for p in model.parameters() if not any(p is h for h in hidden)]
    adamw = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    return [with_peak(Muon(hidden, lr=rate), rate), with_peak(adamw, rate)]


def rate_falls_at(steps: int) -> int:
    """The step at which the learning rate starts to fall."""
    return int(0.65 * steps)


def transformer_schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then constant, then linear towards zero."""
    return warm_up_and_fall(step, steps, 100, steps - rate_falls_at(steps))


def resumable_checkpoint(latest: Path, plateau: Path, steps: int) -> Path | None:
    """The checkpoint from which a training of `steps` steps can go on as if it had never stopped."""
    if latest.exists():
        done, planned = checkpoint_progress(latest)
        if planned == steps or done <= min(rate_falls_at(planned), rate_falls_at(steps)):
            return latest
        logger.info("%s cannot go on to %d steps: it is at %d of %d, past its plateau", latest, steps, done, planned)
    if plateau.exists() and checkpoint_progress(plateau)[0] <= rate_falls_at(steps):
        return plateau
    return None
