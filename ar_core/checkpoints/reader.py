"""Opens weight files, checks every tensor, and fills a module with them."""

from __future__ import annotations

import pickle
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..control import Cancel, Progress, stop_if
from ..devices import is_out_of_memory
from ..quantization import QuantizedLinear
from .errors import CheckpointError

PICKLES = (".bin",)  # suffixes of weight files that are pickles
GIT_POINTER = b"version https://git-lfs"  # what a clone without Git LFS leaves in place of a large file
ModuleType = TypeVar("ModuleType", bound=nn.Module)


class Entry(NamedTuple):
    """A tensor on its way from a file into a module."""

    path: Path
    key: str  # its name in the file
    name: str  # the parameter's name in our module
    value: Tensor
    made_of: tuple[tuple[str, Tensor], ...] = ()  # where `value` was computed: what it was computed from, by names


@dataclass(frozen=True)
class Stored(ABC):
    """A tensor in a weight file, of which nothing has been read yet. Its methods raise CheckpointError."""

    path: Path
    key: str

    @abstractmethod
    def shape(self) -> list[int]:
        """Known without reading the values."""

    @abstractmethod
    def read(self) -> Tensor:
        """The whole tensor: a view of the file, whose pages are read when they are used."""

    @abstractmethod
    def read_rows(self, first: int, last: int) -> Tensor:
        """Rows `first` .. `last` - 1 alone."""


@dataclass(frozen=True)
class StoredSafely(Stored):
    """A tensor in an open safetensors file."""

    file: safe_open

    def shape(self) -> list[int]:
        with _named(self.path):
            return self.file.get_slice(self.key).get_shape()

    def read(self) -> Tensor:
        with _named(self.path):
            return self.file.get_tensor(self.key)

    def read_rows(self, first: int, last: int) -> Tensor:
        with _named(self.path):
            return self.file.get_slice(self.key)[first:last]


@dataclass(frozen=True)
class Pickled(Stored):
    """A tensor of a pickle, mapped from the file."""

    value: Tensor

    def shape(self) -> list[int]:
        return list(self.value.shape)

    def read(self) -> Tensor:
        return self.value

    def read_rows(self, first: int, last: int) -> Tensor:
        return self.value[first:last]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the safetensors library as CheckpointErrors that name the file; what it reads is on the CPU."""
    try:
        with torch.device("cpu"):  # the library itself would take the process's default
            yield
    except (SafetensorError, OSError) as error:
        if _begins(path, GIT_POINTER):
            raise pointer_of_git(path) from error
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is damaged or incomplete ({reason}). Copy it again.") from error


def stored_keys(path: Path) -> list[str]:
    """The names of a file's tensors. Raises CheckpointError."""
    if path.suffix in PICKLES:
        return list(read_pickle(path))
    with _named(path), safe_open(path, "pt") as file:
        return list(file.keys())


def stored_tensors(paths: Iterable[Path]) -> Iterator[Stored]:
    """Every tensor of weight files, one file open at a time. Raises CheckpointError."""
    for path in paths:
        if path.suffix in PICKLES:
            for key, value in read_pickle(path).items():
                yield Pickled(path, key, value)
            continue
        keys = stored_keys(path)
        with safe_open(path, "pt") as file:
            for key in keys:
                yield StoredSafely(path, key, file)


def read_pickle(path: Path, table: str | None = None) -> dict[str, Tensor]:
    """The tensors of a pickle by their names, below the name `table` where given. Only plain ones are ever unpickled.

    Those of a large file are mapped where its format allows: nothing is read before it is used. Raises CheckpointError.
    """
    try:
        mapped = path.suffix in PICKLES and zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror or error}). Check its disk and whether you may read it."
        ) from error
    except Exception as error:  # damage sends the unpickler anywhere: errors of letters, keys, places and types
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            raise  # which says nothing of the file
        if _begins(path, GIT_POINTER):
            raise pointer_of_git(path) from error
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors ({_reason(error)}). Copy {path.name} again."
        ) from error
    tensors = content
    if table is not None and isinstance(content, dict):
        tensors = content.get(table)
    if not isinstance(tensors, dict):
        lacking = "holds no tensors by their names"
        if table is not None:
            lacking = f'has no "{table}"'
        raise CheckpointError(f"{path} {lacking}. Copy {path.name} again from where the model was published.")
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or not _is_plain(value):
            raise CheckpointError(
                f"{path} holds {key!r:.60} as {type(value).__name__}, expected a tensor of numbers under a name. "
                f"Copy {path.name} again."
            )
    return tensors


def pointer_of_git(path: Path) -> CheckpointError:
    """What to raise for a file that is none."""
    return CheckpointError(
        f"{path} is a pointer of Git LFS and not the file itself. Download {path.name} from the model's page."
    )


def _begins(path: Path, content: bytes) -> bool:
    """Whether the file begins so."""
    try:
        with path.open("rb") as file:
            return file.read(len(content)) == content
    except OSError:
        return False


def _reason(error: Exception) -> str:
    """An error of a library in one line."""
    said = str(error).splitlines() or [""]
    if "weights_only" in said[0]:  # torch advises to unpickle everything, which nobody should
        return f"{type(error).__name__}: it is no file of tensors, or not a whole one"
    if isinstance(error, pickle.UnpicklingError | RuntimeError) and said[0]:
        return said[0][:200]
    return f"{type(error).__name__}: {said[0][:200]}".removesuffix(": ")


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has its numbers one by one in main memory: neither sparse nor quantised nor without any."""
    return tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def report_progress(entries: Iterable[Entry], count: int, progress: Progress, cancel: Cancel) -> Iterator[Entry]:
    """`entries`, with the progress of `count` parameters. Raises Cancelled."""
    for done, entry in enumerate(entries, 1):
        stop_if(cancel)
        yield entry
        progress(min(done, count), count, "reading weights")  # files may hold more than belongs to the model


def fill_module(
    model: ModuleType,
    entries: Iterable[Entry],
    source: Path,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    key_of: Callable[[str], str] = str,
) -> ModuleType:
    """`model`, built on meta, with every parameter taken from `entries`; frozen and in evaluation mode.

    Quantised layers round their weight as it comes, so that no second copy of the model is ever in memory. Raises
    CheckpointError for an entry that the model has no place for, a wrong shape, a number that is not finite in `dtype`,
    or a parameter without an entry; `source` is what that message calls the model's files, and `key_of` gives the name
    that a parameter has there.
    """
    missing = dict(model.named_parameters())
    quantised = any(isinstance(module, QuantizedLinear) for module in model.modules())
    for entry in entries:
        if entry.name not in missing:
            raise CheckpointError(
                f"{entry.path} holds {entry.key}, which this model does not have or another file holds too. "
                "Copy the files again."
            )
        module_name, _, parameter_name = entry.name.rpartition(".")
        module = model.get_submodule(module_name)
        parameter = missing.pop(entry.name)
        if isinstance(module, QuantizedLinear):
            check_stored_shape(entry.path, entry.key, entry.value.shape, module.weight_shape)
            check_finite_weights(entry, dtype)
            module.store(entry.value.to(device, dtype))
            missing.pop(f"{module_name}.{module.scale_name}")
        else:
            check_stored_shape(entry.path, entry.key, entry.value.shape, parameter.shape)
            check_finite_weights(entry, dtype)
            # Without a copy the parameter is a view that keeps the whole file in memory. That is right where all of the
            # file is used so, but wrong where most of it is rounded to fewer bits.
            value = entry.value.to(device, dtype, copy=quantised)
            setattr(module, parameter_name, nn.Parameter(value, requires_grad=False))
    if missing:
        first = key_of(next(iter(missing)))
        raise CheckpointError(f"{source} lacks {first} ({len(missing)} tensors in all). Copy the model's files again.")
    return model.requires_grad_(False).eval()


def check_stored_shape(path: Path, key: str, shape: Iterable[int], expected: Iterable[int]) -> None:
    """Raise CheckpointError unless the shapes are equal."""
    if tuple(shape) != tuple(expected):
        raise CheckpointError(
            f"{key} in {path} has the shape {tuple(shape)}, expected {tuple(expected)}. "
            "It and config.json belong to different models."
        )


def check_finite_weights(entry: Entry, dtype: torch.dtype | None) -> None:
    """Raise CheckpointError unless every number is finite in `dtype` (None: as it is stored)."""
    value = entry.value
    if not value.is_floating_point():
        raise CheckpointError(
            f"{entry.path} holds {entry.key} as {value.dtype}; weights are floating-point numbers. Copy the file again."
        )
    if not value.numel():
        raise CheckpointError(f"{entry.path} holds no number in {entry.key}. Copy the file again.")
    if value.itemsize == 1:
        value = value.to(torch.float16)  # torch compares no 8-bit numbers
    extremes = torch.stack(torch.aminmax(value))  # NaN where any number is
    if dtype is not None:
        extremes = extremes.to(dtype)
    if not extremes.isfinite().all():
        raise CheckpointError(
            f"{entry.path} holds a weight in {entry.key} that is not a finite number as {extremes.dtype}. "
            "Copy the file again."
        )
