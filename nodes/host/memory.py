"""ComfyUI's memory management: hands it both parts of a model, makes room, and says what fits on the card."""

from __future__ import annotations

import comfy.model_management as memory
import torch

from ...ar_core import ARModel
from ...ar_core.memory import quantized_bytes, training_room, weight_bytes
from ...ar_core.quantization import SCHEMES
from ..sockets import HostedModel
from .patchers import transformer_patcher, whole_patcher
from .private import reserved_bytes
from .progress import advising_out_of_memory

BUS = 12e9  # bytes per second from main memory to a graphics card: an assumption for estimates alone


def hand_to_comfyui(model: ARModel) -> HostedModel:
    """Hand both parts to ComfyUI's memory management."""
    return HostedModel(
        model,
        transformer_patcher(model.transformer, memory.get_torch_device(), memory.unet_offload_device()),
        whole_patcher(model.image_tokenizer, memory.vae_device(), memory.vae_offload_device()),
    )


def make_resident(ar: HostedModel, needed: int) -> None:
    """Load both parts, patched, with `needed` bytes beside them; other models make room."""
    advice = advising_out_of_memory("weights were loaded", "Unload other models")
    with torch.inference_mode(False), advice:
        memory.load_models_gpu([ar.transformer, ar.image_tokenizer], memory_required=needed)


def computing_device() -> torch.device:
    """Where models run."""
    return memory.get_torch_device()


def offload_device() -> torch.device:
    """Where weights wait that are not in use."""
    return memory.unet_offload_device()


def pictures_device() -> torch.device:
    """Where finished pictures go."""
    return memory.intermediate_device()


def best_dtype() -> torch.dtype | None:
    """What the graphics card computes in; None on a CPU, where the size of the model decides."""
    device = memory.get_torch_device()
    if memory.is_device_cpu(device):
        return None
    if memory.should_use_bf16(device):
        return torch.bfloat16
    return torch.float16


def card_bytes() -> int | None:
    """What a graphics card offers to models; None on a CPU, which streams nothing."""
    device = memory.get_torch_device()
    if memory.is_device_cpu(device):
        return None
    return memory.get_total_memory(device) - reserved_bytes()


def room_on_card(ar: HostedModel) -> int | None:
    """Bytes for a training beside both parts, where other models make room; None where that is unknown."""
    total = card_bytes()
    if total is None:
        return training_room(memory.get_torch_device())
    return max(0, total - held_bytes(ar))


def held_bytes(ar: HostedModel) -> int:
    """Bytes of both parts."""
    return weight_bytes(ar.model.transformer) + weight_bytes(ar.model.image_tokenizer)


def fits_on_card(ar: HostedModel, needed: int) -> bool:
    """Whether both parts and `needed` bytes beside them are on the card at once: else layers would be streamed."""
    total = card_bytes()
    return total is None or held_bytes(ar) + needed <= total


def affords_on_card(ar: HostedModel, least: int, more: int) -> bool:
    """Whether to ask for `more` bytes where `least` would do: not if only that would have layers streamed."""
    return fits_on_card(ar, more) or not fits_on_card(ar, least)


def transfer_seconds(ar: HostedModel, needed: int, steps: int) -> float:
    """Time spent on copying streamed layers to the card in `steps` steps, with `needed` bytes beside both parts.

    0 where everything fits. An estimate, from what has no room.
    """
    total = card_bytes()
    if total is None:
        return 0.0
    missing = max(0, held_bytes(ar) + needed - total)
    return steps * missing / BUS


def fitting_precisions(ar: HostedModel, needed: int) -> str:
    """The precisions in which this model would stay on the card with `needed` bytes beside it; "" for none."""
    total = card_bytes()
    if ar.model.transformer.quantized or total is None:
        return ""
    free = total - needed - weight_bytes(ar.model.image_tokenizer)
    return " or ".join(scheme for scheme in SCHEMES if quantized_bytes(ar.model.transformer, scheme) <= free)
