"""Load Lumina-mGPT: a folder of weights, or the miniature that ships, as an AR_MODEL."""

from __future__ import annotations

import comfy.model_management as memory
import torch
from comfy_api.latest import io

from ..ar_core import ARModel
from ..ar_core.families.registry import FAMILIES
from ..ar_core.memory import drawing_bytes
from ..ar_core.model import MINIATURE_FOLDER, PRECISIONS
from .host.folders import MODELS, fingerprint, folders, inside
from .host.memory import card_bytes, citizen, fits, fitting_precisions, operations, weights
from .host.progress import Reporter, duration, explained, show_text
from .sockets import CATEGORY, ARModelSocket, HostedModel

BUILT_IN = "miniature (built in)"
AUTO = "auto"
BUS = 12e9  # bytes per second from main memory to a graphics card: an assumption for the estimate alone


def found_models() -> list[str]:
    """Folders with a config.json below `models/lumina_mgpt`."""
    found = []
    for base in folders(MODELS):
        found += [
            path.parent.relative_to(base).as_posix() for path in base.glob("**/config.json") if path.parent != base
        ]
    return sorted(set(found))


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LuminaMGPTLoadModel",
            display_name="Load Lumina-mGPT",
            category=CATEGORY,
            description="Loads Lumina-mGPT 7B from models/lumina_mgpt, or the miniature of drawn scenes that needs no download.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[BUILT_IN, *found_models()],
                    tooltip="Folders in models/lumina_mgpt that hold a config.json. The miniature ships with this pack and only knows drawn scenes.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="auto",
                    tooltip="auto: bf16 on a graphics card (fp16 on cards without it), fp32 for the miniature on a CPU. fp32 needs twice the memory. "
                    "int8: half the memory of bf16, slightly other pictures; 4-bit: a third, needs the package bitsandbytes. Both learn and take LoRA only.",
                ),
                io.Combo.Input(
                    "family",
                    options=[AUTO, *FAMILIES],
                    default=AUTO,
                    optional=True,
                    tooltip="auto: what the model's files say. The files of Lumina-mGPT do not say for which resolution "
                    "it was trained: auto takes 768 px. Choose here if yours is the model for 512 or 1024 px.",
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
    def fingerprint_inputs(cls, model_name=None, precision=None, family=None):
        if model_name in (None, BUILT_IN):
            return model_name
        try:
            return fingerprint(inside(model_name, MODELS))
        except ValueError:
            return model_name  # execute says what is wrong

    @classmethod
    @explained
    def execute(cls, model_name: str, precision: str, family: str = AUTO) -> io.NodeOutput:
        if precision not in PRECISIONS:
            raise ValueError(f'precision is "{precision}"; choose one of: {", ".join(PRECISIONS)}.')
        if family not in (AUTO, *FAMILIES):
            raise ValueError(f'family is "{family}"; choose one of: {AUTO}, {", ".join(FAMILIES)}.')
        path = MINIATURE_FOLDER if model_name == BUILT_IN else inside(model_name, MODELS)
        chosen, reporter = PRECISIONS[precision], Reporter()
        with torch.inference_mode(False), reporter.interruptible():
            model = ARModel.load(
                path,
                memory.unet_offload_device(),
                chosen.dtype or best_dtype(),
                quantized=chosen.quantized,
                family=None if family == AUTO else family,
                operations=operations(),
                progress=reporter.progress,
                cancel=reporter.cancel,
            )
            ar = citizen(model)
        text = about(ar)
        show_text("\n".join([model.family.title, *text.splitlines()[2:]]))
        return io.NodeOutput(ar, text)


def best_dtype() -> torch.dtype | None:
    """What the graphics card computes in; None on a CPU, where the size of the model decides."""
    device = memory.get_torch_device()
    if memory.is_device_cpu(device):
        return None
    return torch.bfloat16 if memory.should_use_bf16(device) else torch.float16


def about(ar: HostedModel) -> str:
    """What was loaded, and whether one picture fits beside the weights."""
    model = ar.model
    recipe, protocol = model.family.recipe, model.protocol
    held = weights(ar)
    beside = drawing_bytes(model, recipe.size, 1, recipe.cfg, previews=False)
    width, height = recipe.size
    lines = [
        f"{model.family.title}, {model.transformer.precision}, {gib(held)} of weights, fingerprint {model.fingerprint}",
        f"licence: {model.family.licence}",
        *model.notes,
    ]
    total = card_bytes()
    if total is None:
        return "\n".join([*lines, "Runs on the CPU."])
    need = f"A picture of {width}x{height} needs {gib(held + beside)}, this card has {gib(total)}"
    if fits(ar, beside):
        return "\n".join([*lines, f"{need}: the model stays on it."])
    rows, columns = protocol.grid(recipe.size)
    seconds = rows * columns * (held + beside - total) / BUS
    lines.append(f"{need}: layers are streamed, about {duration(seconds)} of transfer per picture (estimated).")
    if fitting := fitting_precisions(ar, beside):
        lines.append(f"It would stay on the card in {fitting}.")
    return "\n".join(lines)


def gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count > 2**30 else f"{count / 2**20:.0f} MiB"
