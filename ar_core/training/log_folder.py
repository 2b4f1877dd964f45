"""What a training does, as files for a notebook: losses, and pictures on the way with how alike they are.

<folder>/<name of the run>/
    losses.jsonl        {"stage": "embedding", "step": 1, "loss": 3.2}; null for a step that was skipped
    samples.jsonl       {"stage": "embedding", "step": 50, "prompt": ..., "picture": "000050-<hash>.png", ...measures}
    000050-<hash>.png   the picture of that prompt at that step
    events.out.*        the same for TensorBoard, where it was asked for

Both lists are made anew from what the training remembers. So no line is there twice, and the log of a training that was
stopped and went on is that of one that never stopped, byte by byte. What was logged of more steps or other prompts
stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..control import Progress
from ..files import UnreadableFile, ensure_folder, json_hash, json_text, read_text, write_image, write_text
from ..photos import unstack
from ..pngs import SOURCE
from .events import Events
from .stages import Stage

LOSSES = "losses.jsonl"
SAMPLES = "samples.jsonl"
SECONDS = 10.0  # between two writings while losses come in

Line = dict[str, Any]
# Pictures and their prompts -> what is measured of each, by name.
Measure = Callable[[Sequence[Image.Image], Sequence[str]], Sequence[Mapping[str, float]]]


def nothing_measured(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[dict[str, float]]:
    """A Measure where there are no encoders."""
    return [{} for _ in pictures]


class TrainingLog:
    """Follows the stages of a training, one after the other: `begin` is its on_stage, `sample` its on_sample."""

    def __init__(self, folder: Path, progress: Progress, measure: Measure = nothing_measured, events: bool = False):
        """`progress`: what else is told of it. `events`: also for TensorBoard; raises ValueError without it."""
        self.root = folder
        self.shown = progress
        self.measure = measure
        self.events = Events() if events else None
        self.stage: Stage | None = None
        self.remembered: list[float] = []  # losses of the stage when it began
        self.samples: dict[tuple[int, str], Line] = {}
        self.written = 0.0  # when, on the monotonic clock

    @property
    def folder(self) -> Path:
        """Of the stage that is followed."""
        assert self.stage is not None
        return self.root / self.stage.run.folder.name

    def begin(self, stage: Stage) -> None:
        """Follow `stage`, and no longer the one before."""
        self.end()
        self.stage = stage
        self.remembered = stage.run.losses()
        ensure_folder(self.folder)
        self.samples = {(line["step"], line["prompt"]): line for line in _lines(self.folder / SAMPLES)}
        if self.events is not None:
            self.events.begin(self.folder)

    def progress(self, done: int, total: int, message: str) -> None:
        """A Progress: logs what is new, and hands it on."""
        if time.monotonic() - self.written > SECONDS:
            self.write()
        self.shown(done, total, message)

    def sample(self, step: int, images: Tensor) -> None:
        """Log pictures (prompts, H, W, 3) of a kept step; one that is logged again stays once."""
        assert self.stage is not None
        pictures = unstack(images)
        measured = self.measure(pictures, self.stage.prompts)
        for prompt, picture, measures in zip(self.stage.prompts, pictures, measured, strict=True):
            name = f"{step:06d}-{json_hash(prompt)[:8]}.png"
            write_image(self.folder / name, picture, pnginfo=_described(prompt, step))
            line: Line = {"stage": self.stage.name, "step": step, "prompt": prompt, "picture": name}
            self.samples[step, prompt] = {**line, **{key: round(value, 6) for key, value in measures.items()}}
            if self.events is not None:
                self.events.sample(step, prompt, picture, measures)
        self.write()

    def write(self) -> None:
        """Write what is known by now."""
        if self.stage is None:
            return
        losses = max(self.remembered, self.stage.losses, key=len)  # one begins the other
        rows = [{"stage": self.stage.name, "step": step, "loss": loss} for step, loss in enumerate(losses, 1)]
        _write_lines(self.folder / LOSSES, rows)
        _write_lines(self.folder / SAMPLES, [self.samples[key] for key in sorted(self.samples)])
        if self.events is not None:
            self.events.losses(losses)
        self.written = time.monotonic()

    def end(self) -> None:
        """Write all of the stage that is followed; whatever ended it, this is called."""
        self.write()
        if self.events is not None:
            self.events.end()
        self.stage = None


def _described(prompt: str, step: int) -> PngInfo:
    info = PngInfo()
    info.add_itxt("prompt", prompt)
    info.add_itxt("step", str(step))
    info.add_itxt("DigitalSourceType", SOURCE)
    return info


def _write_lines(path: Path, lines: Sequence[Line]) -> None:
    if lines:
        write_text(path, "\n".join(json_text(line) for line in lines))


def _lines(path: Path) -> list[Line]:
    """What was logged before; nothing where it cannot be read: it is made again of what the training remembers."""
    try:
        lines = [json.loads(line) for line in read_text(path).splitlines()]
    except (UnreadableFile, ValueError, RecursionError):
        return []
    return [line for line in lines if isinstance(line, dict) and _is_sample(line)]


def _is_sample(line: Line) -> bool:
    return isinstance(line.get("step"), int) and isinstance(line.get("prompt"), str)
