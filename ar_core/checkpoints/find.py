"""Finds the parts of a model: in its folder, and in places near it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import UnreadableFile, read_json
from .errors import CheckpointError
from .reader import stored_keys

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # names of weight files, the best first
DECODER = "decoder.conv_in.weight"  # how the key of the decoder's first layer ends, wherever an image tokenizer lies


@dataclass(frozen=True)
class Sources:
    """Where a family's image tokenizer and text tokenizer are looked for, and where users get them.

    An advice completes the sentence "... is missing: put <advice> into <the model's folder>."
    """

    image_tokenizer: tuple[str, ...]  # names of files, the best first
    image_tokenizer_advice: str
    tokenizer: tuple[str, ...]
    tokenizer_advice: str
    places: tuple[str, ...] = (".", "..")  # folders, seen from the model's


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk as far as it is known before its family is: the folder, config.json, and the weight files."""

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def size(self) -> int:
        """Bytes of weights."""
        return sum(path.stat().st_size for path in self.weights)

    def table(self, name: str) -> dict[str, Any]:
        """A table in config.json, empty where there is none. Raises CheckpointError for anything else of that name."""
        found = self.config.get(name) or {}
        if not isinstance(found, dict):
            raise CheckpointError(
                f"{self.config_path} has no table {name} ({found!r:.60}). Copy it again from the model's repository."
            )
        return found

    def known_words(self) -> list[str] | None:
        """All that a small model was trained on, where config.json lists it. Raises CheckpointError."""
        words = self.config.get("known_words")
        if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            raise CheckpointError(f"{self.config_path} has known_words that are no words. Copy it again.")
        return words

    def tensor_names(self) -> Iterator[str]:
        """The keys in all weight files. Raises CheckpointError for a damaged file."""
        for path in self.weights:
            yield from stored_keys(path)


@dataclass(frozen=True)
class Files(ModelFolder):
    """All parts of a model. `image_tokenizer` is None where it lies among the weights."""

    image_tokenizer: Path | None
    tokenizer: Path
    sources: Sources


def open_folder(path: Path | str) -> ModelFolder:
    """Read config.json and list the weights. Raises CheckpointError that names what is missing and where it goes."""
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(
            f"There is no model folder {path}. Give the folder that holds config.json and the weight files."
        )
    config = _read_json(path / "config.json")
    return ModelFolder(path, config, _weight_files(path))


def find_parts(
    folder: ModelFolder,
    sources: Sources,
    image_tokenizer: Path | str | None = None,
    tokenizer: Path | str | None = None,
) -> Files:
    """Locate the image tokenizer and the text tokenizer, each in `folder` or near it unless its file is given.

    Raises CheckpointError that names what is missing and where it goes.
    """
    for given in (image_tokenizer, tokenizer):
        if given is not None and not Path(given).is_file():
            raise CheckpointError(
                f"There is no file {given}. Leave it out to use what lies beside the model's weights."
            )
    if image_tokenizer is not None:
        image_tokenizer = Path(image_tokenizer)
    elif not _is_among_weights(folder):
        image_tokenizer = _image_tokenizer_file(folder, sources)
    if tokenizer is None:
        tokenizer = _tokenizer_file(folder, sources)
    return Files(folder.path, folder.config, folder.weights, image_tokenizer, Path(tokenizer), sources)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise CheckpointError(f"{path} is missing. Copy it from the model's repository.")
    try:
        content = read_json(path)
    except UnreadableFile as error:
        raise CheckpointError(f"{error} Copy it from the model's repository.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} cannot be read (it is no JSON object). Copy it from the model's repository.")
    return content


def _weight_files(folder: Path) -> tuple[Path, ...]:
    for whole in WEIGHTS:
        index = folder / f"{whole}.index.json"
        if index.exists():
            return _existing(folder, _listed(index), f"{index.name} lists it")
        if os.path.isfile(folder / whole):
            return (folder / whole,)
    raise CheckpointError(
        f"{folder / WEIGHTS[0]} is missing (and so are {WEIGHTS[1]} and an index of either, {WEIGHTS[0]}.index.json). "
        f"Copy the model's weight files into {folder}."
    )


def _existing(folder: Path, names: list[str], lister: str) -> tuple[Path, ...]:
    """The files of these names. Raises CheckpointError for a missing one; `lister` says why it should be there."""
    for name in names:
        if not os.path.isfile(folder / name):
            raise CheckpointError(
                f"{folder / name} is missing ({lister}). Copy the model's {Path(name).suffix} files into {folder}."
            )
    return tuple(folder / name for name in names)


def _listed(index: Path) -> list[str]:
    """The files beside an index that it names. Raises CheckpointError for one that names none, or others."""
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(map(_is_file_name, weight_map.values())):
        raise CheckpointError(f"{index} has no weight_map from tensors to files. Copy it from the model's repository.")
    return sorted(set(weight_map.values()))


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name == Path(name).name and name not in ("", "..")


def _is_among_weights(folder: ModelFolder) -> bool:
    """Whether the weight files hold a whole image tokenizer, not only its encoder as transformers' Chameleon does."""
    return any(name.endswith(DECODER) for name in folder.tensor_names())


def _image_tokenizer_file(folder: ModelFolder, sources: Sources) -> Path:
    """The first file in the folder or near it that has a decoder."""
    found = _near(folder.path, sources.places, sources.image_tokenizer)
    for path in found:
        if path.suffix == ".ckpt":  # opening a pickle takes seconds, and all that are published have a decoder
            return path
        if any(key.endswith(DECODER) for key in stored_keys(path)):
            return path
    problem = "The image tokenizer is missing"
    if found:
        problem = f"{found[0]} has no decoder"
    raise CheckpointError(f"{problem}: put {sources.image_tokenizer_advice} into {folder.path}.")


def _tokenizer_file(folder: ModelFolder, sources: Sources) -> Path:
    if found := _near(folder.path, sources.places, sources.tokenizer):
        return found[0]
    raise CheckpointError(f"The text tokenizer is missing: put {sources.tokenizer_advice} into {folder.path}.")


def _near(folder: Path, places: tuple[str, ...], names: tuple[str, ...]) -> list[Path]:
    """The files with one of `names` in `places`, place by place."""
    candidates = [folder / place / name for place in places for name in names]
    return [path for path in candidates if path.is_file()]
