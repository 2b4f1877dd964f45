"""What was learned about one subject: the identifier's vectors and the change of the transformer.

One safetensors file (docs/file-format.md):
    identifier                                          (vectors, hidden) float32
    base_model.model.<projection>.lora_A.weight / B     peft's LoRA layout, or
    delta.<projection>.weight                           the full difference
with string metadata: the `modelspec.*` fields, the base's fingerprint, and the recipe as JSON.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .adapters import Adapter, DeltaAdapter, LowRankAdapter
from .files import (
    UnavailableFile,
    UnreadableFile,
    ensure_folder,
    numbered_paths,
    read_tensors,
    remove_abandoned,
    shown_path,
    write_numbered,
    write_tensors,
)
from .text import check_class_name, check_identifier_name

FORMAT = "ar-personalization/1"
ARCHITECTURE = "/personalization"  # behind the base's, in `modelspec.architecture`

log = logging.getLogger(__name__)


class PersonalizationError(ValueError):
    """A personalization that cannot be read or applied; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Personalization:
    """`vectors` (k, hidden) float32 stand for `identifier` in prompts; `adapter` is None for an embedding alone."""

    identifier: str
    class_name: str
    vectors: Tensor
    adapter: Adapter | None
    base_fingerprint: str
    recipe: dict[str, Any] = field(default_factory=dict)  # how it was trained
    title: str = ""
    architecture_name: str = "lumina-mgpt"  # of the base
    licence_notice: str = ""  # what whoever passes the file on has to know

    @property
    def method(self) -> str:
        """How the layers change: "lora", "full", or "embedding" where they do not."""
        if self.adapter is None:
            return "embedding"
        return self.adapter.method

    @property
    def largest(self) -> float:
        """The size of the largest number in the file, alpha among them."""
        numbers = [float(tensor.abs().max()) for tensor in self._tensors().values()]
        return max(*numbers, getattr(self.adapter, "alpha", 0.0))

    def __str__(self) -> str:
        """ "[V] dog, learned with lora in 60 steps"."""
        steps = self.recipe.get("steps")
        how = {"embedding": "embedding alone", "lora": "LoRA", "full": "full q/k/v"}[self.method]
        words = f"{self.identifier} {self.class_name}, {how}"
        if steps is None:
            return words
        return f"{words}, {steps} steps"

    def save_beside(self, path: Path | str) -> tuple[Path, bool]:
        """As `save`, but what has the name already stays: "X_2.safetensors" is written then.

        Returns the path, and whether it was written: a file that already holds exactly this is left as it is.
        """
        path = with_suffix(path)
        for candidate in itertools.takewhile(os.path.lexists, numbered_paths(path)):
            if self.is_in(candidate):
                with suppress(OSError):  # what a process left that was killed when the name was just taken
                    remove_abandoned(path.parent)
                return candidate, False
        return write_numbered(path, partial(self.save, replace=False)), True

    def save(self, path: Path | str, *, replace: bool = True) -> Path:
        """Write the file atomically and return its path; the name "X" becomes "X.safetensors". Raises OSError.

        `replace`: see `files.atomic_write`.
        """
        path = with_suffix(path)
        ensure_folder(path.parent)
        write_tensors(path, self._tensors(), self._metadata(), replace=replace)
        log.info("Saved %s %s to %s", self.identifier, self.class_name, path)
        return path

    def is_in(self, path: Path) -> bool:
        """Whether the file holds exactly this: the same values and the same words about them."""
        if not os.path.isfile(path):
            return False
        try:
            file = read_tensors(path)
        except (UnreadableFile, UnavailableFile):
            return False
        tensors = self._tensors()
        if file.metadata != self._metadata() or file.tensors.keys() != tensors.keys():
            return False
        return all(torch.equal(file.tensors[name], value.detach().cpu()) for name, value in tensors.items())

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"identifier": self.vectors.float()}
        if self.adapter is not None:
            tensors |= self.adapter.file_tensors()
        return tensors

    def _metadata(self) -> dict[str, str]:
        licence = {}
        if self.licence_notice:
            licence["modelspec.license"] = self.licence_notice
        return {
            **licence,
            "format": FORMAT,
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": f"{self.architecture_name}{ARCHITECTURE}",
            "modelspec.title": self.title or f"{self.identifier} {self.class_name}",
            "modelspec.trigger_phrase": f"{self.identifier} {self.class_name}",
            "modelspec.usage_hint": f'Write "{self.identifier} {self.class_name}" in the prompt.',
            "identifier": self.identifier,
            "class_name": self.class_name,
            "method": self.method,
            "alpha": str(getattr(self.adapter, "alpha", "")),
            "base_fingerprint": self.base_fingerprint,
            "recipe": json.dumps(self.recipe, sort_keys=True),
        }

    @classmethod
    def load(cls, path: Path | str) -> Personalization:
        """Read a file. Raises PersonalizationError, naming the file, for anything else."""
        path = Path(path)
        if not os.path.isfile(path):
            problem = "does not exist"
            if os.path.isdir(path):
                problem = "is a folder"
            elif os.path.lexists(path):
                problem = "is no file"
            raise PersonalizationError(
                f"{shown_path(path)} {problem}. Give the .safetensors file that `personalize` wrote."
            )
        try:
            file = read_tensors(path)
        except UnreadableFile as error:
            raise PersonalizationError(f"{error} Copy or train it again.") from error
        except UnavailableFile as error:
            raise PersonalizationError(str(error)) from error
        metadata = file.metadata
        if metadata.get("format") != FORMAT or "identifier" not in file.tensors:
            raise PersonalizationError(
                f"{path} is not a personalization of this software "
                f"(its format is {metadata.get('format')!r}, expected {FORMAT!r})."
            )
        try:
            loaded = cls(
                metadata["identifier"],
                metadata["class_name"],
                file.tensors["identifier"],
                _adapter(path, metadata, file.tensors),
                metadata["base_fingerprint"],
                json.loads(metadata["recipe"]),
                metadata["modelspec.title"],
                metadata.get("modelspec.architecture", cls.architecture_name).removesuffix(ARCHITECTURE),
                metadata.get("modelspec.license", ""),
            )
            loaded._check()
        except PersonalizationError:
            raise
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, StopIteration) as error:
            reason = f"{type(error).__name__}: {error}"
            raise PersonalizationError(
                f"{path} is damaged or was changed ({reason}). Copy or train it again."
            ) from error
        log.info("Loaded %s %s from %s", loaded.identifier, loaded.class_name, path)
        return loaded

    def _check(self) -> None:
        """Raise ValueError for values that no training writes."""
        check_identifier_name(self.identifier)
        check_class_name(self.class_name)
        if self.vectors.ndim != 2 or not self.vectors.numel() or not self.vectors.dtype.is_floating_point:
            raise ValueError(f"the identifier's vectors are {tuple(self.vectors.shape)} of {self.vectors.dtype}")
        if not isinstance(self.recipe, dict):
            raise ValueError("the recipe is no table")
        tensors = [self.vectors]
        if isinstance(self.adapter, LowRankAdapter) and not (0 < self.adapter.alpha < math.inf):
            raise ValueError(f"alpha is {self.adapter.alpha}")
        if self.adapter is not None:
            tensors += self.adapter.file_tensors().values()
        if not all(tensor.isfinite().all() for tensor in tensors):
            raise ValueError("some numbers are not finite")


def with_suffix(path: Path | str) -> Path:
    """The file that a name stands for: "X" is "X.safetensors"."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return path
    return path.with_name(path.name + ".safetensors")


def _adapter(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Adapter | None:
    match metadata["method"]:
        case "embedding":
            return None
        case "lora":
            return LowRankAdapter.from_file_tensors(tensors, float(metadata["alpha"]))
        case "full":
            return DeltaAdapter.from_file_tensors(tensors)
    raise PersonalizationError(
        f'{path} was made with the method "{metadata["method"]}", which this version does not know. '
        "Update the software."
    )
