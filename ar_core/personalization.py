"""What was learned about one subject: the identifier's vectors and the change of the transformer.

One safetensors file (docs/file-format.md):
    identifier                                          (vectors, hidden) float32, or
    concept, origin, image_concept                      (depth, n, hidden) float32: a deep concept, where it
                                                        started, and its position before the picture
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
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .adapters import Adapter, DeltaAdapter, LowRankAdapter
from .files import (
    TensorFile,
    UnavailableFile,
    UnreadableFile,
    dump_tensors,
    ensure_folder,
    numbered_paths,
    parse_tensors,
    read_tensors,
    remove_abandoned,
    shown_path,
    write_numbered,
    write_tensors,
)
from .styles import full_name
from .text import check_class_name, check_identifier_name

FORMAT = "ar-personalization/1"
DEEP_FORMAT = "ar-personalization/2"  # of deep concepts alone: what earlier versions can read stays as it was
HOW = {"embedding": "embedding alone", "deep": "deep concept", "lora": "LoRA", "full": "full q/k/v"}  # by method
ARCHITECTURE = "/personalization"  # behind the base's, in `modelspec.architecture`

log = logging.getLogger(__name__)


class PersonalizationError(ValueError):
    """A personalization that cannot be read or applied; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Personalization:
    """`vectors` float32 stand for `identifier` in prompts; `adapter` is None where the layers stay as they are.

    They are (k, hidden), or those of a deep concept, (depth, k, hidden), which has an `origin` (depth, k + images,
    hidden), which small strengths lead to, and perhaps `image_vectors` (depth, images, hidden). A style, a deep concept
    alone, has no class name.
    """

    identifier: str
    class_name: str
    vectors: Tensor
    adapter: Adapter | None
    base_fingerprint: str
    recipe: dict[str, Any] = field(default_factory=dict)  # how it was trained
    title: str = ""
    architecture_name: str = "lumina-mgpt"  # of the base
    licence_notice: str = ""  # what whoever passes the file on has to know
    image_vectors: Tensor | None = None
    origin: Tensor | None = None

    @property
    def is_deep(self) -> bool:
        """Whether more than the embedding is learned of the identifier."""
        return self.vectors.ndim == 3

    @property
    def full_name(self) -> str:
        """What prompts call it: "[V] dog", or "[V]" for a style, which has no class word."""
        return full_name(self.identifier, self.class_name)

    @property
    def concept(self) -> Tensor:
        """What stands at the positions of identifier and image, (depth, k + images, hidden)."""
        vectors = self.vectors if self.is_deep else self.vectors[None]
        if self.image_vectors is None:
            return vectors
        return torch.cat([vectors, self.image_vectors], 1)

    def concept_at(self, strength: float) -> Tensor:
        """`concept` at a strength: the way from its origin, once for 1. An embedding alone has one strength.

        At its origin the identifier is one more class word ("a photo of dog dog"), and the position before the picture
        is the mean of the photos' codes: near the base's picture, but not the same. Strength 0 is exactly the base's,
        as the identifier is left out of prompts then (`Identifier.dropped`) and none of this is put in place.
        """
        if self.origin is None or strength == 1:
            return self.concept
        return self.origin + strength * (self.concept - self.origin)

    @property
    def method(self) -> str:
        """How the layers change: "lora", "full", or "embedding" and "deep" where they do not."""
        if self.adapter is None:
            return "deep" if self.is_deep else "embedding"
        return self.adapter.method

    @property
    def largest(self) -> float:
        """The size of the largest number in the file, alpha among them."""
        numbers = [float(tensor.abs().max()) for tensor in self._tensors().values()]
        return max(*numbers, getattr(self.adapter, "alpha", 0.0))

    def __str__(self) -> str:
        """ "[V] dog, LoRA, 60 steps"."""
        steps = self.recipe.get("steps")
        how = HOW[self.method]
        if self.is_deep and self.adapter is not None:
            how = f"{HOW['deep']} and {how}"
        words = f"{self.full_name}, {how}"
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
        log.info("Saved %s to %s", self.full_name, path)
        return path

    def to_bytes(self) -> bytes:
        """What `save` writes, for a database or a network; `from_bytes` reads it."""
        file = BytesIO()
        dump_tensors(file, self._tensors(), self._metadata())
        return file.getvalue()

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
        if self.is_deep:
            tensors = {"concept": self.vectors.float()}
            if self.image_vectors is not None:
                tensors["image_concept"] = self.image_vectors.float()
            if self.origin is not None:
                tensors["origin"] = self.origin.float()
        if self.adapter is not None:
            tensors |= self.adapter.file_tensors()
        return tensors

    def _metadata(self) -> dict[str, str]:
        licence = {}
        if self.licence_notice:
            licence["modelspec.license"] = self.licence_notice
        return {
            **licence,
            "format": DEEP_FORMAT if self.is_deep else FORMAT,
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": f"{self.architecture_name}{ARCHITECTURE}",
            "modelspec.title": self.title or self.full_name,
            "modelspec.trigger_phrase": self.full_name,
            "modelspec.usage_hint": f'Write "{self.full_name}" in the prompt.',
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
        return cls._from_tensors(file, str(path))

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "The personalization") -> Personalization:
        """Read what `to_bytes` gave, or the bytes of a file, checked as `load` does.

        `name`: what a message calls them. Raises PersonalizationError for anything else.
        """
        if not isinstance(content, bytes | bytearray | memoryview):
            raise PersonalizationError(
                f"{name} is given as {type(content).__name__}, expected bytes. Give what `to_bytes` gave, or read a "
                "file with `load`."
            )
        try:
            file = parse_tensors(content, name)
        except UnreadableFile as error:
            raise PersonalizationError(f"{error} Copy or train it again.") from error
        return cls._from_tensors(file, name)

    @classmethod
    def _from_tensors(cls, file: TensorFile, source: str) -> Personalization:
        """What was read. `source`: its name in messages. Raises PersonalizationError."""
        metadata = file.metadata
        vectors = {FORMAT: "identifier", DEEP_FORMAT: "concept"}.get(metadata.get("format", ""), "")
        if vectors not in file.tensors:
            raise PersonalizationError(
                f"{source} is not a personalization of this software "
                f"(its format is {metadata.get('format')!r}, expected {FORMAT!r} or {DEEP_FORMAT!r})."
            )
        try:
            deep = {name: _float32(file.tensors, name) for name in ("image_concept", "origin") if name in file.tensors}
            loaded = cls(
                metadata["identifier"],
                metadata["class_name"],
                _float32(file.tensors, vectors),
                _adapter(source, metadata, file.tensors),
                metadata["base_fingerprint"],
                json.loads(metadata["recipe"]),
                metadata["modelspec.title"],
                metadata.get("modelspec.architecture", cls.architecture_name).removesuffix(ARCHITECTURE),
                metadata.get("modelspec.license", ""),
                deep.get("image_concept"),
                deep.get("origin"),
            )
            if loaded.is_deep != (vectors == "concept"):
                raise ValueError(f"{vectors} is {tuple(loaded.vectors.shape)}")
            loaded._check()
        except PersonalizationError:
            raise
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, StopIteration) as error:
            reason = f"{type(error).__name__}: {error}"
            raise PersonalizationError(
                f"{source} is damaged or was changed ({reason}). Copy or train it again."
            ) from error
        log.info("Loaded %s from %s", loaded.full_name, source)
        return loaded

    def _check(self) -> None:
        """Raise ValueError for values that no training writes."""
        check_identifier_name(self.identifier)
        check_class_name(self.class_name, style=self.is_deep and self.adapter is None)
        if self.vectors.ndim not in (2, 3) or not self.vectors.numel():
            raise ValueError(f"the identifier's vectors are {tuple(self.vectors.shape)}")
        self._check_deep()
        if not isinstance(self.recipe, dict):
            raise ValueError("the recipe is no table")
        tensors = [tensor for tensor in (self.vectors, self.image_vectors, self.origin) if tensor is not None]
        if isinstance(self.adapter, LowRankAdapter) and not (0 < self.adapter.alpha < math.inf):
            raise ValueError(f"alpha is {self.adapter.alpha}")
        if self.adapter is not None:
            tensors += self.adapter.file_tensors().values()
        if not all(tensor.isfinite().all() for tensor in tensors):
            raise ValueError("some numbers are not finite")

    def _check_deep(self) -> None:
        """Raise ValueError where the parts of a deep concept do not fit together."""
        if not self.is_deep:
            if self.image_vectors is not None or self.origin is not None:
                raise ValueError("an embedding alone has neither an image concept nor an origin")
            return
        if self.image_vectors is not None and not self.image_vectors.numel():
            raise ValueError(f"the image concept is {tuple(self.image_vectors.shape)}")
        concept = self.concept  # fails where they cannot stand side by side
        if self.origin is not None and self.origin.shape != concept.shape:
            raise ValueError(f"the concept is {tuple(concept.shape)}, its origin {tuple(self.origin.shape)}")


def with_suffix(path: Path | str) -> Path:
    """The file that a name stands for: "X" is "X.safetensors"."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return path
    return path.with_name(path.name + ".safetensors")


def _float32(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """A file's vectors, as they are computed with. Raises ValueError for whole numbers."""
    tensor = tensors[name]
    if not tensor.dtype.is_floating_point:
        raise ValueError(f"{name} is of {tensor.dtype}")
    return tensor.float()


def _adapter(source: str, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Adapter | None:
    match metadata["method"]:
        case "embedding" | "deep":
            return None
        case "lora":
            return LowRankAdapter.from_file_tensors(tensors, float(metadata["alpha"]))
        case "full":
            return DeltaAdapter.from_file_tensors(tensors)
    raise PersonalizationError(
        f'{source} was made with the method "{metadata["method"]}", which this version does not know. '
        "Update the software."
    )
