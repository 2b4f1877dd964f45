"""Samples whose codes are kept on disk: a stopped evaluation goes on, and a sheet costs no second sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ar_core.files import atomic_write
from ar_core.model import ARModel
from ar_core.photos import unstack
from ar_core.sampling import SamplingSettings

from ..making.loop import Log
from .kept_numbers import question_digest
from .pictures import BATCH


@dataclass(frozen=True)
class SampledPictures:
    """Pictures of one model; `folder` belongs to its weights alone."""

    model: ARModel
    folder: Path
    log: Log = print

    def of_prompts(self, name: str, prompts: Sequence[str], settings: SamplingSettings) -> list[Image.Image]:
        """One picture per prompt by the model as it is. The first few are the same however many follow."""
        pictures: list[Image.Image] = []
        for first in range(0, len(prompts), BATCH):
            pictures += self._batch(name, list(prompts[first : first + BATCH]), settings, first)
            self.log(f"{name}: {len(pictures)} of {len(prompts)} pictures")
        return pictures

    def _batch(self, name: str, prompts: list[str], settings: SamplingSettings, first: int) -> list[Image.Image]:
        asked = (prompts, asdict(settings))
        return self.kept(f"{name}-{first:05d}", asked, lambda: codes_of(self.model, prompts, settings, first))

    def kept(self, name: str, asked: object, sample: Callable[[], Tensor]) -> list[Image.Image]:
        """Pictures of the codes that `sample` gives; kept under `name` and a digest of what was `asked`."""
        path = self.folder / f"{name}-{question_digest(asked)}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            codes = sample()
            with atomic_write(path) as file:
                np.save(file, codes.numpy().astype(np.uint16))
        return unstack(self.model.decode(torch.from_numpy(np.load(path).astype(np.int64))))


def codes_of(model: ARModel, prompts: list[str], settings: SamplingSettings, first: int = 0) -> Tensor:
    """Codes of one sample per prompt; `first`: the number of the first picture, which its randomness depends on."""
    return torch.cat([sample.codes for sample in model.generate(prompts, settings, first_image=first)])
