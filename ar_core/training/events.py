"""A training's log for TensorBoard, by torch's own writer.

Not by accelerate's tracker: that asks for a distributed state, which one process has no use for, and for a package that
`personalize` does without otherwise.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SUFFIX = ".ar-personalize"  # of our event files, so that others beside them stay


class Events:
    """Event files of one run after the other: made anew at each start, so that nothing is in them twice."""

    def __init__(self) -> None:
        """Raises ValueError where the package tensorboard is not installed."""
        try:
            self.writer_class: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise ValueError(
                f"--tensorboard needs the package tensorboard ({error}): install it with "
                f'"{sys.executable}" -m pip install tensorboard, or leave the option out.'
            ) from error
        self.writer: Any = None
        self.step = 0  # up to which losses are written
        self.sampled: set[tuple[int, str]] = set()

    def begin(self, folder: Path) -> None:
        """Write into `folder` from here on."""
        for path in folder.glob(f"events.out.*{SUFFIX}"):
            with suppress(OSError):  # Windows keeps what a TensorBoard has open
                path.unlink()
        self.writer = self.writer_class(str(folder), filename_suffix=SUFFIX)
        self.step = 0
        self.sampled = set()

    def losses(self, losses: Sequence[float]) -> None:
        """Write those that are not written yet; skipped steps have none."""
        for step, loss in enumerate(losses[self.step :], self.step + 1):
            if not math.isnan(loss):
                self.writer.add_scalar("loss", loss, step)
        self.step = max(self.step, len(losses))
        self.writer.flush()

    def sample(self, step: int, prompt: str, picture: Image.Image, measures: Mapping[str, float]) -> None:
        """Write a picture and what was measured of it."""
        if (step, prompt) in self.sampled:
            return
        self.sampled.add((step, prompt))
        self.writer.add_image(prompt, np.asarray(picture), step, dataformats="HWC")
        for name, value in measures.items():
            self.writer.add_scalar(f"{name}/{prompt}", value, step)

    def end(self) -> None:
        """Close the file, where one is open."""
        if self.writer is not None:
            self.writer.close()
        self.writer = None
