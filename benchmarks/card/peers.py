"""transformers and peft on the same weights (see `benchmarks.peers`), of the 7B's dimensions in bfloat16."""

from __future__ import annotations

import torch

from ..common.machine import default_device
from ..common.peers import MissingPackage, Peers
from ..peers import compare
from .random_model import dimensions, is_rehearsal
from .rows import row


def run() -> None:
    codes, repetitions = 32, 3
    if is_rehearsal():
        codes, repetitions = 3, 2
    try:
        peers = Peers.random(default_device(), torch.bfloat16, dimensions())
    except MissingPackage as error:
        row(missing=str(error))
        return
    row(**compare(peers, "bf16", codes, repetitions))
