"""What the first graphics card must answer: `python -m benchmarks.card` (see `__main__`).

SECTIONS lists the questions in order of value.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """A question: the module that asks it, and the seconds that it may take."""

    module: str
    seconds: int
    argument: str | None = None

    def run(self, comfyui: Path | None) -> None:
        """Ask it, printing a row for every answer."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        if self.argument is not None:
            module.run(self.argument)
        elif self.module == "comfyui":
            module.run(comfyui)
        else:
            module.run()


SECTIONS = {
    "comfyui": Section("comfyui", 65),
    "correct": Section("correctness", 60),
    "steps bf16": Section("steps", 50, "bf16"),
    "attention and graphs": Section("kernels", 50),
    "training": Section("training", 50),
    "steps int8": Section("steps", 35, "int8"),
    "steps 4-bit": Section("steps", 35, "4-bit"),
    "steps int8-rotated": Section("steps", 35, "int8-rotated"),
    "batches": Section("batches", 35),
    "caps": Section("caps", 100),
    "image tokenizer": Section("image_tokenizer", 20),
    "peers": Section("peers", 60),
    "compiled": Section("compiled", 60),
}
