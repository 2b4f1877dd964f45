"""Opens weight files, checks every tensor, and fills a module with them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..control import Cancel, Progress, stop_if
from ..quantization import QuantizedLinear


class CheckpointError(ValueError):
    """Files that cannot be loaded; the message names the file, what was expected, and what to do."""


@contextmanager
def open_file(path: Path) -> Iterator[safe_open]:
    """A safetensors file; its tensors are views of the file, so nothing is read before it is used."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or incomplete ({error}). Copy it again.") from error


def keys_of(path: Path) -> list[str]:
    with open_file(path) as file:
        return list(file.keys())


Entry = tuple[Path, str, str, Tensor]  # file, key in it, parameter, value


def reported(entries: Iterable[Entry], count: int, progress: Progress, cancel: Cancel) -> Iterator[Entry]:
    for done, entry in enumerate(entries, 1):
        stop_if(cancel)
        yield entry
        progress(min(done, count), count, "reading weights")  # files may hold more than belongs to the model


def filled(model: nn.Module, entries: Iterable[Entry], source: Path, device, dtype: torch.dtype | None):
    """`model`, built on meta, with every parameter taken from `entries`, in evaluation mode and frozen."""
    wanted = dict(model.named_parameters())
    shrinking = any(isinstance(module, QuantizedLinear) for module in model.modules())
    for path, key, name, value in entries:
        if name not in wanted:
            raise CheckpointError(
                f"{path} holds {key}, which this model does not have or another file holds too. Copy the files again."
            )
        place, _, leaf = name.rpartition(".")
        owner, parameter = model.get_submodule(place), wanted.pop(name)
        small = isinstance(owner, QuantizedLinear)
        check_shape(path, key, value.shape, owner.weight_shape if small else parameter.shape)
        extremes = torch.stack(torch.aminmax(value)).to(dtype)  # NaN where any number is
        if not extremes.isfinite().all():
            raise CheckpointError(
                f"{path} holds a weight in {key} that is not a finite number as {extremes.dtype}. Copy the file again."
            )
        if small:
            owner.store(value.to(device, dtype))
            wanted.pop(f"{place}.{owner.scale_name}")
        else:
            # A value that is taken as it lies keeps the whole file in memory, which is only right where all are taken so.
            setattr(owner, leaf, nn.Parameter(value.to(device, dtype, copy=shrinking), requires_grad=False))
    if wanted:
        first = next(iter(wanted)).replace("image_head", "lm_head")
        raise CheckpointError(f"{source} lacks {first} ({len(wanted)} tensors in all). Copy the model's files again.")
    return model.requires_grad_(False).eval()


def check_shape(path: Path, key: str, shape: Iterable[int], expected: Iterable[int]) -> None:
    if tuple(shape) != tuple(expected):
        raise CheckpointError(
            f"{key} in {path} has the shape {tuple(shape)}, expected {tuple(expected)}. It and config.json belong to different models."
        )


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Meta's vqgan.ckpt: the one pickle in the wild, read as plain tensors only."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors ({reason}). Copy vqgan.ckpt again."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f'{path} has no "state_dict". Give the vqgan.ckpt of Meta\'s Chameleon download.')
    return content["state_dict"]
