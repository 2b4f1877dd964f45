"""What was learned about one subject: the identifier's vectors and the transformer's change.

One safetensors file (docs/file-format.md):
    identifier                                          (vectors, hidden) float32
    base_model.model.<projection>.lora_A.weight / B     peft's LoRA layout, or
    delta.<projection>.weight                           the full difference
with string metadata: the `modelspec.*` fields, the base's fingerprint, and the recipe as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .adapters import Adapter, DeltaAdapter, LowRankAdapter

FORMAT = "ar-personalization/1"


class PersonalizationError(ValueError):
    """A personalization that cannot be read or applied; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Personalization:
    """`vectors` (k, hidden) float32 stand for `identifier` in prompts; `adapter` is None for embedding only."""

    identifier: str
    class_name: str
    vectors: Tensor
    adapter: Adapter | None
    base_fingerprint: str
    recipe: dict = field(default_factory=dict)
    title: str = ""

    def save(self, path: Path | str) -> Path:
        """Write the file atomically. The name "X" becomes "X.safetensors"."""
        path = Path(path)
        if path.suffix != ".safetensors":
            path = path.with_name(path.name + ".safetensors")
        tensors = {"identifier": self.vectors.float()}
        if self.adapter is not None:
            tensors |= self.adapter.file_tensors()
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        partial = path.with_name(path.name + ".partial")
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, self._metadata())
        partial.replace(path)
        return path

    def _metadata(self) -> dict[str, str]:
        method = self.adapter.method if self.adapter else "embedding"
        return {
            "format": FORMAT,
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": "lumina-mgpt/personalization",
            "modelspec.title": self.title or f"{self.identifier} {self.class_name}",
            "modelspec.trigger_phrase": f"{self.identifier} {self.class_name}",
            "modelspec.usage_hint": f'Write "{self.identifier} {self.class_name}" in the prompt.',
            "identifier": self.identifier,
            "class_name": self.class_name,
            "method": method,
            "alpha": str(getattr(self.adapter, "alpha", "")),
            "base_fingerprint": self.base_fingerprint,
            "recipe": json.dumps(self.recipe, sort_keys=True),
        }

    @classmethod
    def load(cls, path: Path | str) -> Personalization:
        """Read a file. Raises PersonalizationError, naming the file, for anything else."""
        path = Path(path)
        if not path.is_file():
            raise PersonalizationError(f"{path} does not exist. Give the .safetensors file that `personalize` wrote.")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        except (SafetensorError, OSError) as error:
            raise PersonalizationError(
                f"{path} is damaged or not a safetensors file ({error}). Copy or train it again."
            ) from error
        if metadata.get("format") != FORMAT or "identifier" not in tensors:
            raise PersonalizationError(
                f"{path} is not a personalization of this software (its format is {metadata.get('format')!r}, expected {FORMAT!r})."
            )
        return cls(
            metadata["identifier"],
            metadata["class_name"],
            tensors["identifier"],
            _adapter(path, metadata, tensors),
            metadata["base_fingerprint"],
            json.loads(metadata["recipe"]),
            metadata["modelspec.title"],
        )


def _adapter(path: Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> Adapter | None:
    match metadata["method"]:
        case "embedding":
            return None
        case "lora":
            return LowRankAdapter.from_file_tensors(tensors, float(metadata["alpha"]))
        case "full":
            return DeltaAdapter.from_file_tensors(tensors)
    raise PersonalizationError(
        f'{path} was made with the method "{metadata["method"]}", which this version does not know. Update the software.'
    )
