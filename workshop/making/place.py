"""Where trainings run, how they compute there, and until when."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class OutOfTimeError(Exception):
    """The time that was given is over; everything is saved, and the same command goes on."""


@dataclass(frozen=True)
class Place:
    """A device; whether the workshop's networks are compiled for it; when to stop, in `time.monotonic`'s seconds.

    `save_seconds`: at least so long from one checkpoint to the next.
    """

    device: torch.device = torch.device("cpu")
    compile: bool = False
    until: float = math.inf
    save_seconds: float = 60.0

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 for products, where that is faster."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device))

    def compiled(self, network: Network) -> Network:
        """`network` itself, or with its kernels joined."""
        if not self.compile:
            return network
        return torch.compile(network)  # type: ignore[return-value]  # what comes back has its methods

    def check_time(self) -> None:
        """Raises OutOfTimeError once the time is over."""
        if time.monotonic() >= self.until:
            raise OutOfTimeError


HERE = Place()  # the CPU, without a limit of time


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster than in float32: on a CPU without the instructions they take longer."""
    if device.type == "cpu":
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    return True
