"""The machine on which something was made or measured."""

from __future__ import annotations

import platform

import torch


def machine() -> str:
    """In one line."""
    return f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
