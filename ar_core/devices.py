"""Which device computes, how much memory it has free, and whether this software was ever run on its kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
import torch


@dataclass(frozen=True)
class Support:
    """Whether a kind of device can be used. `status` is "tested", "untested" or "refused", `reason` one sentence."""

    status: str
    reason: str


NOBODY = "nobody has reported a run there yet: if something fails, please open an issue with the error"
SUPPORT = {
    "cpu": Support("tested", "every test runs there"),
    "cuda": Support("tested", "the miniature, and random weights of the 7B's size, ran on an H200 (docs/card)"),
    "rocm": Support("untested", NOBODY),
    "xpu": Support("untested", NOBODY),
    "mps": Support("untested", NOBODY),
    "privateuseone": Support(
        "refused",
        # https://github.com/microsoft/DirectML/issues/712 (no longer developed) and 604 (the optimizer's operations)
        "DirectML ended with torch 2.4, attention here needs 2.5, and operations that training needs are missing: run "
        "ComfyUI on ROCm or ZLUDA, or on the CPU (--cpu; here --device cpu)",
    ),
    "meta": Support("refused", "it knows the shapes of tensors and computes no numbers: leave --device out"),
}
SAID_OF_FULL_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
)  # in errors without a class of their own
TITLES = {"cpu": "CPU", "cuda": "NVIDIA card", "rocm": "AMD card", "xpu": "Intel card", "mps": "Apple graphics"}


def kind_of(device: torch.device) -> str:
    """The device's type; "rocm" for an AMD card, which torch calls "cuda"."""
    if device.type == "cuda" and torch.version.hip is not None:
        return "rocm"
    return device.type


def device_support(device: torch.device) -> Support:
    """Whether and why a device of this kind can be used."""
    return SUPPORT.get(kind_of(device), Support("untested", NOBODY))


def describe_support(device: torch.device) -> str:
    """ "NVIDIA card: untested (nobody has …)"; for the tested ones only what they are."""
    support = device_support(device)
    kind = kind_of(device)
    title = TITLES.get(kind, kind)
    if support.status == "tested":
        return title
    return f"{title}: {support.status} ({support.reason})"


def check_support(device: torch.device) -> None:
    """Raises ValueError, with the reason, for a kind of device that cannot be used."""
    support = device_support(device)
    if support.status == "refused":
        raise ValueError(f"Models cannot run on {device}: {support.reason}.")


def default_device() -> str:
    """The graphics card where there is one that can be used: "cuda", "xpu", "mps" …, else "cpu"."""
    accelerator = getattr(torch, "accelerator", None)  # since torch 2.6
    if accelerator is not None:
        if accelerator.is_available() and device_support(accelerator.current_accelerator()).status != "refused":
            return accelerator.current_accelerator().type
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def own_card(device: torch.device) -> torch.device:
    """`device`; a card without a number is, in one of several processes started together, the one of its own number.

    `accelerate launch` and `torchrun` give every process of a machine a LOCAL_RANK, and join them by these cards.
    """
    rank = os.environ.get("LOCAL_RANK")
    if rank is None or device.index is not None or device.type not in ("cuda", "xpu"):
        return device
    if getattr(torch, device.type).device_count() == 1:  # a launcher shows every process its own card alone
        return device
    return torch.device(device.type, int(rank))


def joins_processes() -> bool:
    """Whether torch connects processes through the cards that they compute on; else they are joined as on a CPU."""
    kind = default_device()
    if kind == "xpu":
        return getattr(torch.distributed, "is_xccl_available", lambda: False)()  # from torch 2.7 on
    return kind == "cuda"


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on the device, which on a Mac shares main memory; None where that is unknown.

    What torch keeps of a card for its next tensors, and nobody uses, is free.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + unused_reserve(torch.cuda.memory_stats(device))
    if device.type == "xpu" and hasattr(torch.xpu, "mem_get_info"):
        return torch.xpu.mem_get_info(device)[0] + unused_reserve(torch.xpu.memory_stats(device))
    if device.type in ("cpu", "mps"):
        return psutil.virtual_memory().available
    return None


def unused_reserve(statistics: Mapping[str, int]) -> int:
    """Bytes that torch's allocator holds and that are in no tensor, by its `memory_stats`; 0 where it keeps none."""
    return statistics.get("reserved_bytes.all.current", 0) - statistics.get("active_bytes.all.current", 0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had too little memory for a tensor.

    With cudaMallocAsync torch may call it an AcceleratorError (from 2.8 on), for main memory it is a RuntimeError.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(said in text for said in SAID_OF_FULL_MEMORY)
