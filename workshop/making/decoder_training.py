"""Trains the miniature's decoder: captioned scenes as codes, next-code cross-entropy, from scratch.

Scenes are drawn and encoded once. Hidden matrices are trained with Muon (Jordan et al. 2024), embeddings and
norms with AdamW. A tenth of the sequences carry no caption: guidance needs the unconditional model.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
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
from ar_core.training.examples import make_training_batch
from ar_core.transformer import Transformer

from ..world.captions import random_caption
from ..world.drawing import draw_scene
from ..world.scenes import Scene
from ..world.training_scenes import training_scene
from ..world.words import FIRST_CODE
from .checkpointing import checkpoint_progress
from .loop import Log, Step, Training, with_peak
from .schedules import warm_up_and_fall

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

logger = logging.getLogger(__name__)


def numbered_scene(index: int, seed: int) -> Scene:
    """Scene number `index`, always the same."""
    return training_scene(random.Random(f"decoder {seed} {index}"))


def tokenise_scenes(tokenizer: ImageTokenizer, folder: Path, count: int, seed: int = 0, log: Log = print) -> np.ndarray:
    """Codes (count, 16, 16), uint16, of the training scenes; kept in `folder` and extended when more are asked for."""
    path = folder / "codes.npy"
    done = np.zeros((0, 16, 16), np.uint16)
    if path.exists():
        done = np.load(path)
    while len(done) < count:
        block = range(len(done), min(count, len(done) + 2048))
        codes = []
        for start in range(block.start, block.stop, 32):
            images = [np.array(draw_scene(numbered_scene(i, seed))) for i in range(start, min(start + 32, block.stop))]
            with torch.autocast("cpu", torch.bfloat16):
                codes.append(tokenizer.encode(torch.from_numpy(np.stack(images)).float() / 255))
        done = np.concatenate([done, torch.cat(codes).numpy().astype(np.uint16)])
        with atomic_write(path) as file:
            np.save(file, done)
        log(f"tokenised {len(done)}/{count}")
    return done[:count]


def initialise_decoder(model: Transformer, seed: int) -> None:
    """Normal weights; those that write into the residual stream are smaller (Radford et al. 2019)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "norm" not in name:
            std = 0.02
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # what is added to the stream
                std = 0.02 / (2 * CONFIG.num_hidden_layers) ** 0.5
            nn.init.normal_(parameter, std=std, generator=generator)


class Batches:
    """Batch number `step`, always the same, whatever was asked before."""

    def __init__(self, codes: np.ndarray, protocol: Protocol, seed: int):
        self.codes = codes
        self.protocol = protocol
        self.seed = seed

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Ids (B, T), padded at the end, and target codes (B, T), -1 where nothing is predicted."""
        rng = random.Random(f"batch {self.seed} {step}")
        protocol = self.protocol
        size = MINIATURE.recipe.size
        sequences = []
        for _ in range(BATCH):
            index = rng.randrange(len(self.codes))
            caption = random_caption(rng, numbered_scene(index, self.seed))
            prompt = protocol.prompt(caption, size)
            if rng.random() < UNCAPTIONED:
                prompt = protocol.unguided(prompt)
            sequences.append((prompt, self.codes[index]))
        batch = make_training_batch(sequences, protocol, size)
        return batch.ids, batch.targets


def train_decoder(
    folder: Path,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    steps: int,
    seed: int = 0,
    log: Log = print,
) -> Transformer:
    """Train for `steps` in all, checkpointing into `folder`, and go on from a checkpoint there.

    The state before the learning rate starts to fall is kept: a later, longer training goes on from it.
    """
    model = Transformer(CONFIG)
    initialise_decoder(model, seed)
    latest = folder / "decoder_training.safetensors"
    plateau = folder / "decoder_plateau.safetensors"

    def compute(step: int) -> Step:
        ids, targets = batches(step)
        scored = targets >= 0
        with torch.autocast("cpu", torch.bfloat16):
            logits = model.image_logits(model(model.embed(ids))[scored])
        loss = F.cross_entropy(logits, targets[scored])
        return Step(loss, loss.item())

    def on_step(done: int) -> None:
        if done == rate_falls_at(steps):
            training.save(plateau, done)

    training = Training(
        model,
        decoder_optimizers(model),
        latest,
        steps,
        compute,
        schedule=lambda step: decoder_schedule(step, steps),
        clip_norm=1.0,
        log=log,
        describe="loss {:.4f}".format,
        log_every=20,
        on_step=on_step,
    )
    start = 0
    resumed = resumable_checkpoint(latest, plateau, steps)
    if resumed is not None:
        start = training.resume(resumed)
    training.run(start)
    return model.eval()


def decoder_optimizers(model: Transformer) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest."""
    hidden = [p for p in model.model.layers.parameters() if p.dim() == 2 and min(p.shape) > 1]
    others = [p for p in model.parameters() if not any(p is h for h in hidden)]
    if not hasattr(torch.optim, "Muon"):
        raise RuntimeError(
            f"The miniature's decoder is trained with torch.optim.Muon: torch 2.9, not {torch.__version__}."
        )
    muon = torch.optim.Muon(hidden, lr=LEARNING_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    return [with_peak(muon, LEARNING_RATE), with_peak(adamw, LEARNING_RATE)]


def rate_falls_at(steps: int) -> int:
    """The step at which the learning rate starts to fall."""
    return int(0.65 * steps)


def decoder_schedule(step: int, steps: int) -> float:
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
