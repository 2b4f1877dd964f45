"""Load Lumina-mGPT: a folder of weights, or the miniature that ships, as an AR_MODEL."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..ar_core import ARModel
from ..ar_core.devices import check_support, describe_support
from ..ar_core.families.registry import FAMILIES
from ..ar_core.memory import drawing_bytes, size_text
from ..ar_core.model import MINIATURE_FOLDER, PRECISIONS
from ..ar_core.sampling.settings import CODES_PER_STEP
from .host.folders import files_fingerprint, model_entries, model_path
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
from .host.progress import Reporter, duration, explain_on_node, show_text
from .host.schema import advanced, node_schema
from .sockets import CATEGORY, ARModelSocket, HostedModel, check_choice

BUILT_IN = "miniature (built in)"
AUTO = "auto"


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTLoadModel",
            display_name="Load Lumina-mGPT",
            category=CATEGORY,
            search_aliases=("checkpoint", "load model", "chameleon", "model loader", "text to image"),
            description="Loads Lumina-mGPT 7B from models/lumina_mgpt, or the miniature, a small model of drawn scenes "
            "that needs no download.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[BUILT_IN, *model_entries()],
                    tooltip="The folders in models/lumina_mgpt; the help page lists the files that belong in one. The "
                    "miniature ships with this pack and only knows drawn scenes.",
                ),
                advanced(
                    io.Combo.Input,
                    "precision",
                    options=list(PRECISIONS),
                    default="auto",
                    tooltip="auto: bf16 on a graphics card (fp16 on cards without bf16), fp32 for the miniature on a "
                    "CPU. fp32 needs twice the memory. int8: half the memory of bf16, slightly different pictures. "
                    "4-bit: a third, needs the package bitsandbytes. int8-rotated: like int8, with products of 8 bits "
                    "on NVIDIA cards; nobody has measured it yet. These only work with LoRA.",
                ),
                advanced(
                    io.Combo.Input,
                    "family",
                    options=[AUTO, *FAMILIES],
                    default=AUTO,
                    optional=True,
                    tooltip="auto: what the model's files say. The files of Lumina-mGPT do not say for which "
                    "resolution it was trained; auto then takes 768 px. Choose here if yours is the model for 512 or "
                    "1024 px.",
                ),
            ],
            outputs=[
                ARModelSocket.Output("ar_model", display_name="AR_MODEL"),
                io.String.Output(
                    "about", display_name="text", tooltip="What was loaded, and what this machine can do with it."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(
        cls, model_name: str | None = None, precision: str | None = None, family: str | None = None
    ) -> str | None:
        if model_name in (None, BUILT_IN):
            return model_name
        try:
            return files_fingerprint(model_path(model_name))
        except ValueError:
            return model_name  # execute says what is wrong

    @classmethod
    @explain_on_node
    def execute(cls, model_name: str, precision: str, family: str = AUTO) -> io.NodeOutput:
        check_choice("precision", precision, PRECISIONS)
        check_choice("family", family, (AUTO, *FAMILIES))
        path = MINIATURE_FOLDER
        if model_name != BUILT_IN:
            path = model_path(model_name)
        chosen_family = None
        if family != AUTO:
            chosen_family = family
        check_support(computing_device())
        chosen = PRECISIONS[precision]
        reporter = Reporter()
        with torch.inference_mode(False), reporter.interruptible():
            model = ARModel.load(
                path,
                offload_device(),
                chosen.dtype or best_dtype(),
                quantized=chosen.quantized,
                family=chosen_family,
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
    codes_per_step = CODES_PER_STEP[model.auto_window(1, computing_device())]
    steps = round(model.protocol.layout(recipe.size).codes / codes_per_step)
    seconds = transfer_seconds(ar, drawing, steps)
    lines.append(f"{need}: layers are streamed, about {duration(seconds)} of transfer per picture (estimated).")
    fitting = fitting_precisions(ar, drawing)
    if fitting:
        lines.append(f"It would stay on the card in {fitting}.")
    return "\n".join(lines)
