"""The machine on which something was made or measured."""

from __future__ import annotations

import platform

import torch


def machine(device: torch.device | None = None) -> str:
    """In one line; with the graphics card where `device` is one."""
    line = f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if device is not None and device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {line}"
    return line
