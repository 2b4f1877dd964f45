"""Janus-Pro's dimensions with random weights: steps of drawing, plain and recorded, and a pair through each stage."""

from __future__ import annotations

import torch

from ar_core.adapters import LowRankAdapter
from ar_core.architecture import TransformerConfig
from ar_core.families.janus_pro import JanusFamily
from ar_core.families.protocol import Protocol
from ar_core.memory import training_bytes
from ar_core.sampling import SamplingSettings
from ar_core.sampling.engine import Engine
from ar_core.sampling.steps import StepOptions
from ar_core.training.examples import make_training_batch
from ar_core.transformer import Transformer

from ..common.janus_files import FAMILIES, SMALL, dimensions_of, transformer_config
from ..common.machine import bandwidth, default_device, peak_memory, reset_peak_memory
from ..common.timing import median_step_seconds
from ..random_checkpoint import protocol_of
from .random_model import bytes_read, is_rehearsal, random_transformer
from .rows import row
from .training import RANK, REPEATS, held_bytes, peak_bytes, step

PROMPT = "a photo of a dog on the beach"
WINDOWS = (1, 16, 64)
STEPS = 16  # that are timed


def run() -> None:
    """A row for every way to draw, and for every stage, of each size."""
    for family in FAMILIES.values():
        size = SMALL if is_rehearsal() else dimensions_of(family)
        config = transformer_config(size)
        model = random_transformer(config=config)
        time_drawing(family, model)
        time_training(family, model, config)
        del model


def time_drawing(family: JanusFamily, model: Transformer) -> None:
    """Milliseconds of a step."""
    device = default_device()
    protocol = protocol_of(family)
    floor = bytes_read(model) / bandwidth(device)
    prompt = protocol.prompt(PROMPT, family.recipe.size)
    for window in WINDOWS:
        for graphs in (False, True):
            reset_peak_memory(device)
            settings = SamplingSettings.resolve(family, window=window)
            options = StepOptions(graphs=graphs)
            engine = Engine(model, protocol, [prompt], settings.size, settings.cfg, spare=window, options=options)
            seconds = median_step_seconds(engine, settings, 4 if is_rehearsal() else STEPS)
            row(
                family=family.name,
                window=window,
                recorded=graphs,
                ms_per_step=1e3 * seconds,
                of_floor=floor / seconds,
                s_per_picture_one_code_a_step=seconds * protocol.layout(settings.size).codes,
                peak_gib=peak_memory(device),
            )


def time_training(family: JanusFamily, model: Transformer, config: TransformerConfig) -> None:
    """Seconds of a pair without checkpointing, and the peak of memory beside what was computed."""
    device = default_device()
    protocol = protocol_of(family)
    pixels = family.recipe.size
    for stage in ("embedding", "lora"):
        before = held_bytes(device)
        vectors = torch.zeros(1, config.hidden_size, device=device, requires_grad=stage == "embedding")
        adapter = None
        learned: list[torch.Tensor] = [vectors]
        if stage == "lora":
            adapter = LowRankAdapter.fresh(model, RANK, 0)
            learned = list(adapter.parameters())
        optimizer = torch.optim.AdamW(learned, lr=1e-4, foreach=False)
        picture = (prompt_with_identifier(protocol, pixels), codes_of(protocol, pixels))
        batch = make_training_batch([picture], protocol, pixels)
        seconds = [step(model, adapter, batch, vectors, optimizer, protocol.identifier_base) for _ in range(REPEATS)]
        parameters = sum(tensor.numel() for tensor in learned)
        computed = training_bytes(config, protocol, pixels, 1, False, model.dtype.itemsize, parameters)
        row(
            family=family.name,
            stage=stage,
            pairs=1,
            seconds_per_pair=min(seconds[1:]),
            peak_gib=(peak_bytes(device) - before) / 2**30,
            computed_gib=computed / 2**30,
        )


def prompt_with_identifier(protocol: Protocol, pixels: tuple[int, int]) -> list[int]:
    """A prompt that ends with the identifier's token, before the picture's header."""
    header = protocol.header(pixels)
    return [*protocol.prompt(PROMPT, pixels)[: -len(header)], protocol.identifier_base, *header]


def codes_of(protocol: Protocol, pixels: tuple[int, int]) -> torch.Tensor:
    """A random picture."""
    return torch.randint(0, protocol.codes, protocol.grid(pixels), generator=torch.Generator().manual_seed(1))
