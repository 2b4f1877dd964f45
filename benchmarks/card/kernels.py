"""Attention with a mask or by lengths, steps plain or recorded: equal codes, and how fast."""

from __future__ import annotations

from dataclasses import replace

import torch

from ar_core import decode_kernels
from ar_core.sampling import SamplingSettings, jacobi, sequential
from ar_core.sampling.engine import Engine
from ar_core.sampling.steps import StepOptions
from ar_core.transformer import Transformer

from ..common.timing import seconds_in_turns
from ..random_checkpoint import protocol_of
from .random_model import FAMILIES, PROMPT, is_rehearsal, random_transformer
from .rows import row
from .steps import step_seconds

WAYS = {
    "masked": StepOptions(),
    "masked, recorded": StepOptions(graphs=True),
    "lengths": StepOptions(attention="lengths"),
    "lengths, recorded": StepOptions(attention="lengths", graphs=True),
}
TURNS = 2


def run() -> None:
    row(
        torch_takes_lengths=decode_kernels.varlen() is not None,
        comfy_kitchen_decodes=decode_kernels.kitchen() is not None,
    )
    model = random_transformer()
    for window in (1, 64):
        step_seconds(model, 768, 1, window)  # a first turn is left out: kernels are chosen
        expected = first_codes(model, window, WAYS["masked"])
        for name, options in WAYS.items():
            missing = missing_for(options, model)
            if missing:
                row(window=window, way=name, missing=missing)
                continue
            try:
                measure(model, window, name, expected)
            except Exception as error:  # none of them was ever run on a card: one must not end the others
                row(window=window, way=name, failed=f"{type(error).__name__}: {str(error)[:200]}")


def missing_for(options: StepOptions, model: Transformer) -> str:
    """What a way needs that this machine lacks; "" for nothing."""
    if options.graphs and model.device.type != "cuda":
        return "steps are recorded on NVIDIA cards alone"
    try:
        options.check(model.device, model.dtype)
    except ValueError as error:
        return str(error)
    return ""


def measure(model: Transformer, window: int, name: str, expected: torch.Tensor) -> None:
    """Print what one way takes, in turns with masked steps, and whether it draws the `expected` codes."""
    options = WAYS[name]
    turns = {
        "masked": lambda: step_seconds(model, 768, 1, window),
        "this": lambda: step_seconds(model, 768, 1, window, options),
    }
    taken = seconds_in_turns(turns, TURNS)
    seconds = taken["this"]
    row(
        window=window,
        way=name,
        ms_per_step=1e3 * seconds,
        faster_than_masked=taken["masked"] / seconds,
        equal_codes=float((first_codes(model, window, options) == expected).float().mean()),
        same_twice=torch.equal(first_codes(model, window, options), first_codes(model, window, options)),
    )


def first_codes(model: Transformer, window: int, options: StepOptions) -> torch.Tensor:
    """Codes of a small picture with the numbers of one seed."""
    family = replace(FAMILIES[512], sizes=((128, 128),))
    if is_rehearsal():
        family = replace(family, sizes=((64, 64),))
    protocol = protocol_of(FAMILIES[512])
    settings = SamplingSettings.resolve(family, size=family.sizes[0], seed=7, window=window)
    ids = [PROMPT + protocol.header(settings.size)]
    engine = Engine(model, protocol, ids, settings.size, settings.cfg, spare=window, options=options)
    decode = sequential.decode_sequentially if window == 1 else jacobi.decode_jacobi
    return decode(engine, settings).codes
