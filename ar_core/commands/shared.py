"""What several commands need: the options that choose a model, what is printed, a progress bar, and Ctrl-C as a Cancel."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

import torch
from tqdm import tqdm

from ..families.miniature import MINIATURE
from ..families.registry import FAMILIES
from ..model import PRECISIONS, ARModel


class Interruption:
    """A Cancel that follows Ctrl-C: the first lets the step end and saves, the second stops at once."""

    def __init__(self):
        self.asked = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame) -> None:
        self.asked = True
        print("\nStopping after this step (Ctrl-C again: at once)", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self) -> bool:
        return self.asked


def model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=MINIATURE.name, help="a model folder (default: the miniature that ships)")
    command.add_argument("--family", choices=FAMILIES, help="default: read from the folder")
    command.add_argument("--vq", type=Path, help="the image tokenizer's file, if it lies elsewhere")
    command.add_argument("--tokenizer", type=Path, help="the text tokenizer's file, if it lies elsewhere")
    command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto: bf16, for a small model on a CPU fp32; int8, 4-bit: the layers' weights in fewer bits, half or a third of the "
        "memory of bf16, LoRA only; 4-bit needs bitsandbytes",
    )


def image_size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'"{text}" is not a size; write WIDTHxHEIGHT, for example 768x768')
    return int(width), int(height)


def load_model(options: argparse.Namespace) -> ARModel:
    precision = PRECISIONS[options.precision]
    model = ARModel.load(
        options.model,
        options.device,
        precision.dtype,
        quantized=precision.quantized,
        family=options.family,
        vq=options.vq,
        tokenizer=options.tokenizer,
        progress=Bar(),
    )
    print(
        f"model: {model.family.title}, fingerprint {model.fingerprint}, {model.transformer.precision}, on {model.device}"
    )
    for note in model.notes:
        print(f"note: {note}")
    return model


class Bar:
    """A tqdm bar that follows Progress calls: time left is tqdm's."""

    def __init__(self):
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, message: str) -> None:
        if self.bar is None or self.bar.total != total or done < self.bar.n:
            self.close()
            self.bar = tqdm(total=total, leave=False, file=sys.stderr, delay=1)
        self.bar.set_description(message, refresh=False)
        self.bar.update(done - self.bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self.bar = None


def print_values(title: str, values: dict[str, object]) -> None:
    print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
