"""The header of a safetensors file: where each tensor lies, and words about all of them.

Layout (https://github.com/huggingface/safetensors#format): the header's length as 8 bytes, the header as JSON, the
tensors one behind the other. It is read here rather than by the library, which maps the file into memory: a disk or
share that fails would then end the process with a bus error, where an ordinary read says what is wrong.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, TypeGuard

import torch

# Names of the safetensors format, narrowest type first. The widest type comes first in a file, so that all are aligned.
TYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
BY_NAME = {name: dtype for dtype, name in TYPES.items()}
METADATA = "__metadata__"
CHECKSUM = "checksum"  # keys of the metadata: of the tensors' bytes,
HEADER_CHECKSUM = "header_checksum"  # and of their names, types and shapes and all other metadata
CHECKSUMS = (CHECKSUM, HEADER_CHECKSUM)
LOOKS_LIKE_CHECKSUM = re.compile("crc32:[0-9a-f]{8}")
LONGEST = 100_000_000  # bytes of a header, as in the library
MOST_DIMENSIONS = 64  # of a tensor, as in torch
LARGEST = 2**63  # sizes and places are below it


@dataclass(frozen=True)
class Place:
    """Of one tensor: its values are the bytes `begin` .. `end` - 1 behind the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """The tensors of a file by name, and its metadata; None where it has none."""

    places: dict[str, Place]
    metadata: dict[str, str] | None
    size: int = field(default=0, compare=False)  # bytes in front of the tensors

    def checksum(self) -> str:
        """Of all but the checksums and the order: a program that writes the same in another order changes nothing."""
        words = {key: text for key, text in (self.metadata or {}).items() if key not in CHECKSUMS}
        tensors = {name: [TYPES[place.dtype], *place.shape] for name, place in self.places.items()}
        return checksum_text(zlib.crc32(json.dumps([words, tensors], sort_keys=True).encode()))

    def to_bytes(self) -> bytes:
        """As it stands at the beginning of a file."""
        header: dict[str, object] = {}
        if self.metadata is not None:
            header[METADATA] = dict(sorted(self.metadata.items()))
        for name, place in self.places.items():
            offsets = [place.begin, place.end]
            header[name] = {"dtype": TYPES[place.dtype], "shape": list(place.shape), "data_offsets": offsets}
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text


def checksum_text(value: int) -> str:
    """A CRC-32 as it is written."""
    return f"crc32:{value:08x}"


def read_header(file: BinaryIO) -> Header:
    """The header of an open file, on disk or in memory.

    Raises ValueError, with the reason, for one that is damaged, and OSError.
    """
    held = file.seek(0, os.SEEK_END)
    file.seek(0)
    length_bytes = file.read(8)
    if len(length_bytes) < 8:
        raise ValueError("it ends before its header")
    [length] = struct.unpack("<Q", length_bytes)
    if length > min(held - 8, LONGEST):
        raise ValueError("its header is longer than the file")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ends in its header")
    return parse_header(text, held - 8 - length)


def parse_header(text: bytes, held: int) -> Header:
    """What the JSON of a header says of the `held` bytes behind it. Raises ValueError with the reason."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("its header is no JSON") from error
    if not isinstance(content, dict):
        raise ValueError("its header is no JSON object")
    metadata = content.pop(METADATA, None)
    if metadata is not None:
        _check_metadata(metadata)
    places = {name: _place(name, entry) for name, entry in content.items()}
    end = 0
    for place in sorted(places.values(), key=lambda place: (place.begin, place.end)):
        if place.begin != end:
            raise ValueError("its tensors do not lie one behind the other")
        end = place.end
    if end != held:
        raise ValueError(f"it holds {held} bytes of tensors, expected {end}")
    header = Header(places, metadata, 8 + len(text))
    expected = (metadata or {}).get(HEADER_CHECKSUM)
    if expected is not None and expected != header.checksum():
        raise ValueError("what it says of its tensors is not what was written")
    return header


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its metadata are no words")
    for key, text in metadata.items():  # a flipped bit in its name would do away with a checksum
        if key not in CHECKSUMS and LOOKS_LIKE_CHECKSUM.fullmatch(text):
            raise ValueError(f"its metadata have a checksum that is called {key!r:.60}")


def _place(name: str, entry: object) -> Place:
    """Raises ValueError for what is no tensor."""
    said: Mapping[str, object] = entry if isinstance(entry, dict) else {}
    dtype = said.get("dtype")
    shape = said.get("shape")
    offsets = said.get("data_offsets")
    if not isinstance(dtype, str) or not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"its header does not say where {name!r:.60} lies")
    if dtype not in BY_NAME:
        raise ValueError(f"it holds {name!r:.60} in {dtype!r:.20}, which is never written")
    begin, end = offsets
    if end - begin != math.prod(shape) * BY_NAME[dtype].itemsize:
        raise ValueError(f"the shape of {name!r:.60} does not fit its bytes")
    return Place(BY_NAME[dtype], tuple(shape), begin, end)


def _are_sizes(value: object) -> TypeGuard[list[int]]:
    if not isinstance(value, list) or len(value) > MOST_DIMENSIONS:
        return False
    return all(type(item) is int and 0 <= item < LARGEST for item in value)
