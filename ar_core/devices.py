"""Which device computes, how much memory it has free, and whether this software was ever run on its kind."""

from __future__ import annotations

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
    "cuda": Support("untested", NOBODY),
    "rocm": Support("untested", NOBODY),
    "xpu": Support("untested", NOBODY),
    "mps": Support("untested", NOBODY),
    "privateuseone": Support(
        "refused",
        "DirectML ended with torch 2.4 and lacks operations that drawing needs: run ComfyUI on ROCm or ZLUDA, or with "
        "--cpu",
    ),
}
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
        found = accelerator.current_accelerator(check_available=True) if accelerator.is_available() else None
        return "cpu" if found is None else found.type
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device; those of main memory where it shares that or does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "xpu" and hasattr(torch.xpu, "mem_get_info"):
        return torch.xpu.mem_get_info(device)[0]
    return psutil.virtual_memory().available
