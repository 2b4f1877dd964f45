"""What fits smaller cards: torch is held to a part of this one, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import torch

from ar_core.devices import is_out_of_memory
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.quantization import QuantizationError

from ..common.machine import default_device, limit_memory
from .random_model import is_rehearsal, random_transformer, tokenizer_dimensions
from .rows import row
from .steps import step_seconds
from .training import measured

CAPS = ((12, "int8"), (24, ""), (8, "4-bit"), (16, "int8"))  # GB, and the precision that docs/hardware.md says fits
SECONDS = 30  # for each
LARGEST = 1024  # px of training; docs/hardware.md says that it fits all of them


def run() -> None:
    for gigabytes, scheme in CAPS:
        command = [sys.executable, "-u", "-m", f"{__name__}", str(gigabytes), scheme]
        try:
            ended = subprocess.run(command, timeout=SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            row(cap_gb=gigabytes, stopped=f"after {SECONDS} s")
            continue
        if ended:
            row(cap_gb=gigabytes, stopped=f"with exit code {ended}")


def one_cap(gigabytes: int, scheme: str) -> None:
    """A picture of 768 px and a pair of each stage under one cap."""
    device = default_device()
    if not is_rehearsal():
        limit_memory(device, gigabytes)
    precision = scheme or "bf16"
    try:
        model = random_transformer(scheme or None)
        tokenizer = ImageTokenizer(tokenizer_dimensions(), device=device).requires_grad_(False).eval()
    except QuantizationError as error:
        row(cap_gb=gigabytes, precision=precision, missing=str(error))
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        row(cap_gb=gigabytes, precision=precision, what="weights", fits=False)
        return
    try:
        window = 16
        seconds = step_seconds(model, 768, 1, window)
        side = 48
        if is_rehearsal():
            side = 4
        with torch.inference_mode():
            tokenizer.decode(torch.zeros(1, side, side, dtype=torch.long, device=device))
        row(cap_gb=gigabytes, precision=precision, what="a picture, 768 px", fits=True, ms_per_step=1e3 * seconds)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        row(cap_gb=gigabytes, precision=precision, what="a picture, 768 px", fits=False)
    for stage in ("embedding", "lora"):
        for pixels in (512, LARGEST):
            fits, _ = measured(model, pixels, stage, checkpointing=True)
            row(cap_gb=gigabytes, precision=precision, what=f"{stage}, {pixels} px", fits=fits)


if __name__ == "__main__":
    one_cap(int(sys.argv[1]), sys.argv[2])
