"""One pair of the 7B's dimensions through each stage: seconds, and the peak of memory beside what was computed."""

from __future__ import annotations

import torch

from ar_core.adapters import LowRankAdapter, attach_adapter
from ar_core.concepts import Concepts
from ar_core.devices import is_out_of_memory
from ar_core.memory import training_bytes
from ar_core.training.examples import Batch, make_training_batch
from ar_core.training.loss import image_code_loss
from ar_core.transformer import Transformer

from ..common.machine import default_device, seconds_when_finished
from ..random_checkpoint import protocol_of
from .random_model import FAMILIES, PROMPT, random_transformer
from .rows import row

RANK = 64
REPEATS = 3


def run() -> None:
    model = random_transformer()
    for pixels in (512, 768):
        for stage in ("embedding", "lora"):
            for checkpointing in (True, False):
                _, values = measured(model, pixels, stage, checkpointing)
                row(pixels=pixels, stage=stage, checkpointing=checkpointing, pairs=1, **values)


def measured(
    model: Transformer, pixels: int, stage: str, checkpointing: bool, count: int = 1
) -> tuple[bool, dict[str, object]]:
    """Whether so many pairs fitted, and what they took."""
    device = default_device()
    family = FAMILIES[pixels]
    before = held_bytes(device)
    vectors = torch.zeros(1, model.config.hidden_size, device=device)
    adapter = None
    learned: list[torch.nn.Parameter] = [torch.nn.Parameter(vectors)]
    model.gradient_checkpointing = checkpointing
    try:
        if stage == "lora":
            adapter = LowRankAdapter.fresh(model, RANK, 0)
            learned = list(adapter.parameters())
        else:
            vectors = learned[0]
        optimizer = torch.optim.AdamW(learned, lr=1e-4, foreach=False)
        first = protocol_of(family).identifier_base
        seconds = [step(model, adapter, pair(pixels, count), vectors, optimizer, first) for _ in range(REPEATS)]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False, {"out_of_memory": str(error)[:100]}
    finally:
        model.gradient_checkpointing = False
    parameters = sum(p.numel() for p in learned)
    shapes = (model.config, protocol_of(family), (pixels, pixels), count, checkpointing)
    return True, {
        "seconds_per_pair": min(seconds[1:]) / count,
        "peak_gib": (peak_bytes(device) - before) / 2**30,
        "computed_gib": training_bytes(*shapes, model.dtype.itemsize, parameters) / 2**30,
    }


def pair(pixels: int, count: int) -> Batch:
    """So many random pictures behind a prompt with an identifier."""
    protocol = protocol_of(FAMILIES[pixels])
    size = (pixels, pixels)
    generator = torch.Generator().manual_seed(1)
    prompt = [*PROMPT[:-1], protocol.identifier_base, PROMPT[-1], *protocol.header(size)]
    codes = [torch.randint(0, protocol.codes, protocol.grid(size), generator=generator) for _ in range(count)]
    return make_training_batch([(prompt, picture) for picture in codes], protocol, size)


def step(
    model: Transformer,
    adapter: LowRankAdapter | None,
    batch: Batch,
    vectors: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    first_id: int,
) -> float:
    """Seconds of a training step; the vectors lie over the tokens from `first_id` on."""
    began = seconds_when_finished(model.device)
    optimizer.zero_grad()
    with attach_adapter(model, adapter):
        image_code_loss(model, batch, Concepts.stacked([vectors[None]], first_id)).backward()
    optimizer.step()
    return seconds_when_finished(model.device) - began


def held_bytes(device: torch.device) -> int:
    """What tensors hold now; the peak is counted from here on. 0 on a CPU."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    return torch.cuda.max_memory_allocated(device)
