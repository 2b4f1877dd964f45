"""What the first graphics card must answer: `python -m benchmarks.card` (see `__main__`).

SECTIONS lists the questions in order of value.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """A question, the module that asks it, and the seconds that it may take."""

    question: str
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
    "comfyui": Section("does ComfyUI load and draw the miniature, with DynamicVRAM off and on?", "comfyui", 65),
    "correct": Section("are logits, pictures and gradients those of a CPU?", "correctness", 75),
    "steps bf16": Section("how fast is a step?", "steps", 50, "bf16"),
    "attention and graphs": Section("do attention by lengths and recorded steps draw the same, faster?", "kernels", 50),
    "training": Section("what does a pair take in each stage?", "training", 50),
    "janus": Section("what do Janus-Pro's steps and pairs take?", "janus", 45),
    "steps int8": Section("how fast is a step?", "steps", 35, "int8"),
    "steps 4-bit": Section("how fast is a step?", "steps", 35, "4-bit"),
    "steps int8-rotated": Section("how fast is a step?", "steps", 35, "int8-rotated"),
    "batches": Section("how many pictures fit at once?", "batches", 35),
    "caps": Section("does what docs/hardware.md promises fit smaller cards?", "caps", 125),
    "image tokenizer": Section("what does a picture take to be read and shown?", "image_tokenizer", 20),
    "peers": Section("how much faster than transformers and peft?", "peers", 60),
    "compiled": Section("what does torch.compile bring?", "compiled", 60),
}
