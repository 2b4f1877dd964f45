"""Finds the parts of a model in its folder and beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .reader import CheckpointError, keys_of

VQ_FILES = ("vqgan.safetensors", "vqvae.safetensors", "vqgan.ckpt")
TOKENIZER_FILES = ("tokenizer.json", "text_tokenizer.json")
PLACES = (".", "tokenizer", "chameleon/tokenizer", "original_tokenizers", "..")  # relative to the model's folder
VQ_SOURCES = "put vqgan.ckpt (Meta's Chameleon download) or vqgan.safetensors (model.safetensors of leloy/Anole-7b-v0.1-vqvae-hf, renamed) into"

DECODER = "decoder.conv_in.weight"


@dataclass(frozen=True)
class Files:
    """Where a model's parts lie; `vq` is None where they are among the weights."""

    folder: Path
    config: dict
    weights: tuple[Path, ...]
    vq: Path | None
    tokenizer: Path

    @property
    def size(self) -> int:
        """Bytes of weights."""
        return sum(path.stat().st_size for path in self.weights)


def find(folder: Path | str, vq: Path | str | None = None, tokenizer: Path | str | None = None) -> Files:
    """Locate every part in `folder` and beside it. Raises CheckpointError naming what is missing and where it goes."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"There is no model folder {folder}. Give the folder that holds config.json and the .safetensors files."
        )
    for given in (vq, tokenizer):
        if given is not None and not Path(given).is_file():
            raise CheckpointError(
                f"There is no file {given}. Leave it out to use what lies beside the model's weights."
            )
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "chameleon":
        raise CheckpointError(
            f'{folder / "config.json"} describes a "{config.get("model_type")}" model; Lumina-mGPT is of the type "chameleon".'
        )
    weights = _weight_files(folder)
    vq = Path(vq) if vq is not None else _vq_file(folder, weights)
    tokenizer = Path(tokenizer) if tokenizer is not None else _tokenizer_file(folder)
    return Files(folder, config, weights, vq, tokenizer)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        problem = "cannot be read (it is no JSON object)"
    except FileNotFoundError:
        problem = "is missing"
    except (ValueError, OSError) as error:
        problem = f"cannot be read ({error})"
    raise CheckpointError(f"{path} {problem}. Copy it from the model's repository.")


def _weight_files(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set((_read_json(index).get("weight_map") or {}).values()))
    for name in names:
        if not (folder / name).is_file():
            lister = f"{index.name} lists it" if index.exists() else f"there is no {index.name} either"
            raise CheckpointError(
                f"{folder / name} is missing ({lister}). Copy the model's .safetensors files into {folder}."
            )
    return tuple(folder / name for name in names)


def _vq_file(folder: Path, weights: tuple[Path, ...]) -> Path | None:
    """The first source with a decoder: the weights themselves, or a file beside them."""
    if any(key.endswith(DECODER) for path in weights for key in keys_of(path)):
        return None
    found = _beside(folder, VQ_FILES)
    for path in found:
        if path.suffix == ".ckpt" or any(
            key.endswith(DECODER) for key in keys_of(path)
        ):  # Meta's has one; looking is slow
            return path
    problem = f"{found[0]} has no decoder" if found else "The image tokenizer is missing"
    raise CheckpointError(f"{problem}: {VQ_SOURCES} {folder}.")


def _tokenizer_file(folder: Path) -> Path:
    if found := _beside(folder, TOKENIZER_FILES):
        return found[0]
    raise CheckpointError(
        "The text tokenizer is missing: put tokenizer.json (Alpha-VLLM/Lumina-mGPT-7B-768) or text_tokenizer.json "
        f"(Meta's Chameleon download) into {folder}."
    )


def _beside(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder / place / name for place in PLACES for name in names if (folder / place / name).is_file()]
