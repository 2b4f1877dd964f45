"""What the loaders share: one for each family that users look for by name, all of which load any model."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy_api.latest import io

from ..ar_core import ARModel
from ..ar_core.devices import check_support, describe_support
from ..ar_core.memory import drawing_bytes, size_text
from ..ar_core.model import PRECISIONS
from .host.layers import Layers
from .host.memory import (
    best_dtype,
    card_bytes,
    computing_device,
    fits_on_card,
    fitting_precisions,
    hand_to_comfyui,
    held_bytes,
    offload_device,
    transfer_seconds,
)
from .host.progress import Reporter, duration, show_text
from .host.schema import advanced
from .sockets import ARModelSocket, HostedModel, check_choice


def precision_input() -> io.Input:
    """In what the weights are held."""
    return advanced(
        io.Combo.Input,
        "precision",
        options=list(PRECISIONS),
        default="auto",
        tooltip="auto: bf16 on a graphics card (fp16 on cards without bf16), fp32 for the miniature on a "
        "CPU. fp32 needs twice the memory. int8: half the memory of bf16, slightly different pictures. "
        "4-bit: a third, needs the package bitsandbytes. int8-rotated: like int8, with products of 8 bits "
        "on NVIDIA cards; nobody has measured it yet. These only work with LoRA.",
    )


def loader_outputs() -> list[io.Output]:
    """The model, and what there is to know about it."""
    return [
        ARModelSocket.Output("ar_model", display_name="AR_MODEL"),
        io.String.Output(
            "about", display_name="text", tooltip="What was loaded, and what this machine can do with it."
        ),
    ]


def load_for_node(path: Path, precision: str, family: str | None = None) -> io.NodeOutput:
    """A loader's outputs for the model in `path`; `family` None: what its files say."""
    check_choice("precision", precision, PRECISIONS)
    check_support(computing_device())
    chosen = PRECISIONS[precision]
    reporter = Reporter()
    with torch.inference_mode(False), reporter.interruptible():
        model = ARModel.load(
            path,
            offload_device(),
            chosen.dtype or best_dtype(),
            quantized=chosen.quantized,
            family=family,
            operations=Layers,
            progress=reporter.progress,
            cancel=reporter.cancel,
        )
        ar = hand_to_comfyui(model)
    text = about_model(ar)
    show_text("\n".join([model.family.title, *text.splitlines()[2:]]))
    return io.NodeOutput(ar, text)


def about_model(ar: HostedModel) -> str:
    """What was loaded, and whether one picture fits beside the weights."""
    model = ar.model
    recipe = model.family.recipe
    held = held_bytes(ar)
    drawing = drawing_bytes(model, recipe.size, 1, recipe.cfg, previews=False)
    precision = model.transformer.precision
    lines = [
        f"{model.family.title}, {precision}, {size_text(held)} of weights, fingerprint {model.fingerprint}",
        f"licence: {model.family.licence}",
        *model.notes,
    ]
    card = card_bytes()
    lines.append(f"Runs on: {describe_support(computing_device())}.")
    if card is None:
        return "\n".join(lines)
    width, height = recipe.size
    need = f"A picture of {width}x{height} needs {size_text(held + drawing)}, this card has {size_text(card)}"
    if fits_on_card(ar, drawing):
        return "\n".join([*lines, f"{need}: the model stays on it."])
    codes_per_step = model.family.estimated_codes_per_step(model.auto_window(1, computing_device()))
    steps = round(model.protocol.layout(recipe.size).codes / codes_per_step)
    seconds = transfer_seconds(ar, drawing, steps)
    lines.append(f"{need}: layers are streamed, about {duration(seconds)} of transfer per picture (estimated).")
    fitting = fitting_precisions(ar, drawing)
    if fitting:
        lines.append(f"It would stay on the card in {fitting}.")
    return "\n".join(lines)
