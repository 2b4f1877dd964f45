"""Trains the miniature's decoder: captioned scenes as codes, next-code cross-entropy, from scratch.

Scenes are drawn and encoded once. Hidden matrices are trained with Muon (Jordan et al. 2024), embeddings and
norms with AdamW. A tenth of the sequences carry no caption: guidance needs the unconditional model.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_core.architecture import TransformerConfig
from ar_core.families.miniature import MINIATURE
from ar_core.families.protocol import Protocol
from ar_core.files import atomic_write
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.training.examples import make_batch
from ar_core.transformer import Transformer

from ..world.drawing import draw
from ..world.scenes import Scene, random_caption, random_scene
from ..world.words import FIRST_CODE
from .checkpointing import load_training, progress, save_training

CONFIG = TransformerConfig(
    vocab_size=1616,
    hidden_size=256,
    intermediate_size=704,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_first=FIRST_CODE,
    head_size=MINIATURE.codes,
)
BATCH = 16
UNCAPTIONED = 0.1
LEARNING_RATE = 2e-3


def training_scene(index: int, seed: int) -> Scene:
    return random_scene(random.Random(f"decoder {seed} {index}"))


def tokenise(tokenizer: ImageTokenizer, folder: Path, count: int, seed: int = 0, log=print) -> np.ndarray:
    """Codes (count, 16, 16), uint16, of the training scenes; kept in `folder` and extended when more are asked for."""
    path = folder / "codes.npy"
    done = np.load(path) if path.exists() else np.zeros((0, 16, 16), np.uint16)
    while len(done) < count:
        block = range(len(done), min(count, len(done) + 2048))
        codes = []
        for start in range(block.start, block.stop, 32):
            images = [np.array(draw(training_scene(i, seed))) for i in range(start, min(start + 32, block.stop))]
            with torch.autocast("cpu", torch.bfloat16):
                codes.append(tokenizer.encode(torch.from_numpy(np.stack(images)).float() / 255))
        done = np.concatenate([done, torch.cat(codes).numpy().astype(np.uint16)])
        with atomic_write(path) as file:
            np.save(file, done)
        log(f"tokenised {len(done)}/{count}")
    return done[:count]


def initialise(model: Transformer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "norm" not in name:
            residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = 0.02 / (2 * CONFIG.num_hidden_layers) ** 0.5 if residual else 0.02
            nn.init.normal_(parameter, std=std, generator=generator)


class Batches:
    """Batch number `step`, always the same, whatever was asked before."""

    def __init__(self, codes: np.ndarray, protocol: Protocol, seed: int):
        self.codes, self.protocol, self.seed = codes, protocol, seed

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Ids (B, T), padded at the end, and target codes (B, T), -1 where nothing is predicted."""
        rng = random.Random(f"batch {self.seed} {step}")
        protocol, size = self.protocol, MINIATURE.recipe.size
        sequences = []
        for _ in range(BATCH):
            index = rng.randrange(len(self.codes))
            caption = random_caption(rng, training_scene(index, self.seed))
            prompt = protocol.prompt(caption, size)
            if rng.random() < UNCAPTIONED:
                prompt = protocol.unguided(prompt)
            sequences.append((prompt, self.codes[index]))
        batch = make_batch(sequences, protocol, size)
        return batch.ids, batch.targets


def train(folder: Path, batches: Batches, steps: int, seed: int = 0, log=print) -> Transformer:
    """Train for `steps` in all, checkpointing into `folder`, and go on from a checkpoint there.

    The state before the learning rate starts to fall is kept: a later, longer training goes on from it.
    """
    model = Transformer(CONFIG)
    initialise(model, seed)
    optimizers = make_optimizers(model)
    latest, plateau = folder / "decoder_training.safetensors", folder / "decoder_plateau.safetensors"
    resumed = resumable(latest, plateau, steps)
    start = load_training(resumed, model, optimizers, {}) if resumed else 0
    average = None
    for step in range(start, steps):
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["lr"] = group["peak"] * schedule(step, steps)
        ids, targets = batches(step)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model.image_logits(model(model.embed(ids))[targets >= 0])
        loss = F.cross_entropy(logits, targets[targets >= 0])
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if step % 20 == 0:
            log(f"decoder step {step}/{steps} loss {average:.4f}")
        if step + 1 == falls_at(steps):
            save_training(plateau, step + 1, steps, model, optimizers, {})
        if step % 200 == 199 or step + 1 == steps:
            save_training(latest, step + 1, steps, model, optimizers, {})
    return model.eval()


def make_optimizers(model: Transformer) -> list[torch.optim.Optimizer]:
    hidden = [p for p in model.model.layers.parameters() if p.dim() == 2 and min(p.shape) > 1]
    others = [p for p in model.parameters() if not any(p is h for h in hidden)]
    optimizers = [
        torch.optim.Muon(hidden, lr=LEARNING_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    for group in (g for optimizer in optimizers for g in optimizer.param_groups):
        group["peak"] = LEARNING_RATE
    return optimizers


def falls_at(steps: int) -> int:
    """The step at which the learning rate starts to fall."""
    return int(0.65 * steps)


def schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then constant, then linear towards zero."""
    return min(1.0, (step + 1) / 100, max(0.01, (steps - step) / (steps - falls_at(steps))))


def resumable(latest: Path, plateau: Path, steps: int) -> Path | None:
    """The checkpoint from which a training of `steps` steps can go on as if it had never stopped."""
    if latest.exists():
        done, planned = progress(latest)
        if planned == steps or done <= min(falls_at(planned), falls_at(steps)):
            return latest
    if plateau.exists() and progress(plateau)[0] <= falls_at(steps):
        return plateau
    return None
