"""Files: written whole or not at all, and read back with an error that names the file.

Everything is written under a temporary name in the same folder and then renamed. Whatever ends a writer, a kill or a
power cut included, the file holds all of the new content or all of the old. Temporary names are unique, so processes
that write the same file do not disturb one another. What a killed writer left behind is removed by a later write into
its folder.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import os
import platform
import re
import secrets
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import torch
from PIL import Image
from torch import Tensor, nn

from .devices import is_out_of_memory
from .tensor_headers import CHECKSUM, CHECKSUMS, HEADER_CHECKSUM, TYPES, Header, Place, checksum_text, read_header

ABANDONED_AFTER = 3600.0  # seconds in which nobody wrote to a temporary file: its writer is gone
# `.partial` alone could be another program's download. The writer's machine and process, then a random number; versions
# before wrote the number alone.
TEMPORARY = re.compile(r".+\.ar-(?:(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-)?[0-9a-f]{8,16}\.partial")
REPLACE_TRIES = 20  # on Windows, where a virus scanner or an indexer holds a file for a moment
REPLACE_WAIT = 0.05  # seconds between two of them

log = logging.getLogger(__name__)


def _process_numbers() -> str:
    """Where process numbers mean the same: this machine since it started, and of its containers this one."""
    known = platform.node()
    with suppress(OSError):  # Linux alone says so
        known += Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        known += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(known.encode()).hexdigest()[:8]


MACHINE = _process_numbers()


class UnreadableFile(ValueError):
    """A file that is damaged or of another kind; the message names it and says what is wrong."""


class UnavailableFile(OSError):
    """A file that cannot be read now, of which nothing is known; the message names it and says why."""


class MissingFile(UnavailableFile):
    """A file that is not there; the message names it."""


class UnwritableFile(OSError):
    """A file that could not be written; the message names it and says why."""


# ---------------------------------------------------------------- writing


def empty_folder(path: Path) -> Path:
    """`path`, or the first of its `numbered_paths` that is not there or empty; it is made. Raises UnwritableFile."""
    for folder in numbered_paths(path):
        if not os.path.lexists(folder) or (os.path.isdir(folder) and not os.listdir(folder)):
            ensure_folder(folder)
            return folder
    raise AssertionError("there is always another number")


def ensure_folder(folder: Path) -> Path:
    """Make `folder` where it is missing; returns it. Raises UnwritableFile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableFile(
            f"The folder {folder} cannot be made ({error.strerror or error}). Make it by hand, or choose another."
        ) from error
    return folder


@contextmanager
def atomic_write(path: Path, reserve: Path | None = None, replace: bool = True) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of `path` when the block ends without an error.

    The system gives it the mode that the user's umask asks for. `reserve`: a name for the file that was there before.
    Raises UnwritableFile; then, and after an error in the block, `path` is what it was. Without `replace` raises
    FileExistsError where there is a file by then, whoever made it.
    """
    temporary = path.with_name(f"{path.name[:40]}.ar-{MACHINE}-{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        remove_abandoned(path.parent)
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a rename that reaches the disk before the content would leave an empty file
        if not replace:
            _take_free_name(temporary, path)
        elif reserve is not None and path.exists():
            _replace_keeping(temporary, path, reserve)
        else:
            _replace(temporary, path)
    except FileExistsError:
        temporary.unlink(missing_ok=True)
        raise
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UnwritableFile(
            f"{path} could not be written ({error.strerror or error}). Free some space there, or choose another folder."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _take_free_name(temporary: Path, path: Path) -> None:
    """Raises FileExistsError where the name is not free."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name is taken first
        path.open("xb").close()
        try:
            _replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                path.unlink()  # it is empty, and would look like something that was saved
            raise
    else:
        temporary.unlink()


def _replace_keeping(temporary: Path, path: Path, reserve: Path) -> None:
    _replace(path, reserve)
    try:
        _replace(temporary, path)
    except OSError:
        _replace(reserve, path)
        raise


def _replace(source: Path, target: Path) -> None:
    """Rename `source` to `target`, whatever is there."""
    for left in reversed(range(REPLACE_TRIES)):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or not left:
                raise
            time.sleep(REPLACE_WAIT)


def write_numbered(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with the first of `numbered_paths` that is free; returns it.

    `write` raises FileExistsError where somebody else was quicker, as `atomic_write` without `replace` does.
    """
    for candidate in numbered_paths(path):
        if os.path.lexists(candidate):
            continue
        try:
            write(candidate)
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("there is always another number")


def numbered_paths(path: Path) -> Iterator[Path]:
    """`path`, then "name_2.suffix", "name_3.suffix" and so on."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}_{number}{path.suffix}")


def free_path(path: Path) -> Path:
    """The first of `numbered_paths` that nothing has yet."""
    return next(candidate for candidate in numbered_paths(path) if not os.path.lexists(candidate))


def remove_abandoned(folder: Path, *patterns: str, age: float = ABANDONED_AFTER) -> None:
    """Delete temporary files in `folder` whose writer is gone; also those that match a glob among `patterns`.

    A process of this machine that has ended is gone, and whoever has not written for `age` seconds; 0 where the caller
    knows that nobody else writes there.
    """
    found = [path for path in folder.iterdir() if TEMPORARY.fullmatch(path.name)]
    for pattern in patterns:
        found += folder.glob(pattern)
    for path in found:
        try:
            if age == 0 or _has_ended(path) or time.time() - path.stat().st_mtime > age:
                path.unlink()
                log.info("Removed %s, which a process that was killed had left", path)
        except OSError:
            continue  # finished or removed by somebody else in the meantime, or not ours to delete


def _has_ended(path: Path) -> bool:
    """Whether a temporary file is one of a process of this machine that runs no more."""
    name = TEMPORARY.fullmatch(path.name)
    if name is None or name["machine"] != MACHINE:
        return False
    return not psutil.pid_exists(int(name["process"]))


def write_text(path: Path, text: str, *, replace: bool = True) -> Path:
    """Write `text` as UTF-8, ending with a line break; returns `path`. `replace`: see `atomic_write`."""
    if not text.endswith("\n"):
        text += "\n"
    with atomic_write(path, replace=replace) as file:
        file.write(text.encode())
    return path


def write_json(path: Path, value: object, *, sort_keys: bool = False, replace: bool = True) -> Path:
    """Write `value` as readable JSON, null in place of numbers that are not finite; returns `path`.

    `replace`: see `atomic_write`.
    """
    return write_text(path, json_text(value, indent=1, sort_keys=sort_keys), replace=replace)


def write_image(path: Path, image: Image.Image, *, replace: bool = True, **options: Any) -> Path:
    """Write `image` in the format that the path's suffix names, with Pillow's `options`; returns `path`.

    `replace`: see `atomic_write`.
    """
    with atomic_write(path, replace=replace) as file:
        image.save(file, format=Image.registered_extensions()[path.suffix.lower()], **options)
    return path


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    reserve: Path | None = None,
    replace: bool = True,
) -> Path:
    """Write a safetensors file in which equal content gives equal bytes; returns `path`.

    The bytes are those of the library's own `save_file`, apart from the metadata, which that function orders at random.
    It also makes files that only their owner can read, leaves temporary files of its own behind when it is killed, and
    needs all tensors on the CPU at once; here one at a time is copied there.

    Metadata get a checksum of the tensors' bytes, which the format itself lacks, and one of all that the header says.
    `reserve`, `replace`: see `atomic_write`.
    """
    with atomic_write(path, reserve, replace) as file:
        dump_tensors(file, tensors, metadata)
    return path


def dump_tensors(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> None:
    """What `write_tensors` writes, into a file that is open and empty."""
    names = _in_file_order(tensors)
    places = {}
    end = 0
    for name in names:
        tensor = tensors[name]
        places[name] = Place(tensor.dtype, tuple(tensor.shape), end, end + tensor.nbytes)
        end += tensor.nbytes
    header = Header(places, None)
    if metadata is not None:
        checksums = {CHECKSUM: checksum_text(0), HEADER_CHECKSUM: Header(places, dict(metadata)).checksum()}
        header = Header(places, {**metadata, **checksums})
    text = header.to_bytes()
    file.write(text)
    checksum = 0
    for name in names:
        content = tensor_bytes(tensors[name])
        checksum = zlib.crc32(content, checksum)
        file.write(content)
    if metadata is not None:
        # Only a whole key is written so: inside a JSON text, quotation marks have a backslash before them.
        place = text.index(f'"{CHECKSUM}":"{checksum_text(0)}"'.encode()) + len(CHECKSUM) + 4
        file.seek(place)
        file.write(checksum_text(checksum).encode())


def _in_file_order(tensors: Mapping[str, Tensor]) -> list[str]:
    types = list(TYPES)
    return sorted(tensors, key=lambda name: (-types.index(tensors[name].dtype), name))


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, eq=False)
class TensorFile:
    """What was read of a safetensors file: it may change or go, these values stay."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix`, without it."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `TensorFile.part`."""
    return {prefix + name: value for name, value in tensors.items()}


def read_tensors(path: Path, only: Collection[str] | None = None) -> TensorFile:
    """Read a safetensors file, or `only` tensors of it.

    Raises UnreadableFile for a file that is damaged: what it says, and where all of it is read the values too, must be
    what was written, where the file has checksums. Raises UnavailableFile where the system does not let it be read,
    which says nothing of the file, and MissingFile where there is none.
    """
    try:
        with path.open("rb") as file:
            return _read_tensors(file, only)
    except ValueError as error:
        raise UnreadableFile(f"{shown_path(path)} is damaged or not a safetensors file ({error}).") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFile(f"There is no file {shown_path(path)}.") from error
    except OSError as error:
        if os.path.isdir(path):
            raise UnreadableFile(f"{shown_path(path)} is a folder, not a safetensors file.") from error
        raise UnavailableFile(
            f"{shown_path(path)} cannot be read now ({error.strerror or error}). It was left as it is: try again when "
            "its disk or share answers and you may read it."
        ) from error


def parse_tensors(content: bytes, name: str) -> TensorFile:
    """As `read_tensors`, of a file's content in memory. `name`: what the message calls it."""
    try:
        return _read_tensors(BytesIO(content), None)
    except ValueError as error:
        raise UnreadableFile(f"{name} is damaged or not a safetensors file ({error}).") from error


def _read_tensors(file: BufferedReader | BytesIO, only: Collection[str] | None) -> TensorFile:
    """Raises ValueError, with the reason, for a damaged file, and OSError."""
    header = read_header(file)
    names = [name for name in header.places if only is None or name in only]
    tensors = {name: _read_tensor(file, header, name) for name in names}
    metadata = header.metadata or {}
    expected = metadata.get(CHECKSUM)
    if only is None and expected is not None and expected != checksum_of(tensors):
        raise ValueError("its values are not those that were written")
    return TensorFile(tensors, {key: text for key, text in metadata.items() if key not in CHECKSUMS})


def _read_tensor(file: BufferedReader | BytesIO, header: Header, name: str) -> Tensor:
    """A copy: a view of a file that somebody cuts off ends the process, and keeps the file open meanwhile."""
    place = header.places[name]
    try:
        tensor = torch.empty(place.shape, dtype=place.dtype, device="cpu")
    except (RuntimeError, TypeError) as error:
        if is_out_of_memory(error):
            raise  # which says nothing of the file
        raise ValueError(f"no tensor has the shape of {name!r:.60}") from error
    file.seek(header.size + place.begin)
    if file.readinto(tensor_bytes(tensor)) < tensor.nbytes:
        raise ValueError("it was cut off while it was read")
    return tensor


def checksum_of(tensors: Mapping[str, Tensor]) -> str:
    """What `write_tensors` writes of them."""
    value = 0
    for name in _in_file_order(tensors):
        value = zlib.crc32(tensor_bytes(tensors[name]), value)
    return checksum_text(value)


def shown_path(path: Path) -> str:
    """A path for a message: on one line, and cut where nobody would read on."""
    letters = (letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(path))
    return "".join(letters)[:1000]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark. Raises UnreadableFile."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        lines = error.object[: error.start].split(b"\n")
        raise UnreadableFile(
            f"{path} is not text in UTF-8 (line {len(lines)}, byte {len(lines[-1]) + 1} of it is "
            f"0x{error.object[error.start]:02x}). Save it as UTF-8."
        ) from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read ({error.strerror or error}).") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises UnreadableFile."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path} cannot be read as JSON ({error}).") from error


# ---------------------------------------------------------------- JSON and hashes


def json_value(value: object) -> Any:
    """`value` as it comes back from JSON: tuples are lists, and numbers that are not finite are None."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(value: object, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """`value` as JSON, null in place of numbers that are not finite."""
    return json.dumps(json_value(value), indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)


def json_hash(value: object) -> str:
    """A name (64 hex digits) for a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    """A name (16 hex digits) for a tensor's numbers in float32, whatever its shape."""
    return hashlib.sha256(tensor_bytes(tensor.float())).hexdigest()[:16]


def weights_hash(modules: Iterable[nn.Module], salt: str = "") -> str:
    """A name (64 hex digits) for the weights of `modules` in float32, and for `salt`."""
    digest = hashlib.sha256(salt.encode())
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor_bytes(value.float()))
    return digest.hexdigest()


def values_hash(module: nn.Module) -> str:
    """A name (64 hex digits) for the numbers of `module` in float32, whatever its tensors are called.

    Libraries rename them from version to version, and add whole numbers such as positions.
    """
    tensors = [tensor_hash(value) for value in module.state_dict().values() if value.is_floating_point()]
    return hashlib.sha256("".join(sorted(tensors)).encode()).hexdigest()


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's numbers one after the other, in the machine's byte order."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
