"""What a HEIC or AVIF file says about its photo: its kind and size, how it is cropped and turned, its colour profile.

A file is a tree of boxes, each with a length and a kind of four letters. The box "meta" lists the file's items (the
photo, thumbnails, a depth map, the tiles that a phone cuts its photo into) and their properties. ISO/IEC 14496-12 and
23008-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
ALPHA = (b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")

Properties = list[tuple[bytes, bytes]]  # kinds and contents


class DamagedFile(ValueError):
    """Boxes that break off or contradict one another."""


@dataclass(frozen=True)
class HeifPhoto:
    """The item that the file calls its photo.

    kind: b"hvc1" or b"av01" for one encoded picture, b"grid" for one of tiles
    properties: in the order in which they are applied
    tiles: the items that a grid is put together from, row by row
    transparent: another item is an alpha channel
    """

    number: int
    kind: bytes
    properties: Properties
    transparent: bool
    tiles: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored, before cropping and turning."""
        for kind, content in self.properties:
            if kind == b"ispe":
                fields = Fields(content)
                fields.number(4)
                return fields.number(4), fields.number(4)
        raise DamagedFile("its photo has no size")


def heif_format(file: Path) -> str | None:
    """Pillow's name for what the file says it is, whatever the file is called: "AVIF", "HEIF", or None for others."""
    with file.open("rb") as stream:
        start = stream.read(64)
    if start[4:8] != b"ftyp":
        return None
    brands = {start[place : place + 4] for place in range(8, len(start), 4)}
    if brands & AVIF_BRANDS:
        return "AVIF"
    if brands & HEIF_BRANDS:
        return "HEIF"
    return None


def read_heif_photo(file: Path) -> HeifPhoto:
    """Which item is the photo, and what is said about it. Raises DamagedFile."""
    meta = dict(boxes(required(whole_boxes(file), b"meta")[4:]))
    number = _primary_item(Fields(required(meta, b"pitm")))
    kind = _item_kinds(required(meta, b"iinf")).get(number)
    if kind is None:
        raise DamagedFile("its photo is missing")
    described = dict(boxes(required(meta, b"iprp")))
    everything = list(boxes(required(described, b"ipco")))
    own = _property_numbers(Fields(required(described, b"ipma"))).get(number, [])
    if max(own, default=0) > len(everything):
        raise DamagedFile("a property of its photo is missing")
    transparent = any(name == b"auxC" and content[4:].startswith(ALPHA) for name, content in everything)
    properties = [everything[index - 1] for index in own if index > 0]  # 0: none
    tiles = _tiles_of(number, meta.get(b"iref", b""))
    return HeifPhoto(number, kind, properties, transparent, tiles)


def whole_boxes(file: Path) -> dict[bytes, bytes]:
    """The outermost boxes. Raises DamagedFile for a file that breaks off: libheif would leave its last tiles black."""
    found: dict[bytes, bytes] = {}
    try:
        for kind, content in boxes(file.read_bytes()):
            found[kind] = content
    except DamagedFile:
        if b"meta" not in found or b"mdat" not in found:
            raise  # otherwise the photo is complete, and something was appended that is no box
    return found


def required(found: dict[bytes, bytes], kind: bytes) -> bytes:
    """The content of the box of that kind. Raises DamagedFile where there is none."""
    if kind not in found:
        raise DamagedFile(f"its part {kind.decode()} is missing")
    return found[kind]


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box in `data`. Raises DamagedFile where one is longer than what is there."""
    fields = Fields(data)
    while fields.left:
        before = fields.left
        length = fields.number(4)
        kind = fields.take(4)
        if length == 1:
            length = fields.number(8)
        elif length == 0:  # up to the end
            length = before
        yield kind, fields.take(length - (before - fields.left))


class Fields:
    """Reads one field of a box after the other. Raises DamagedFile where the box is too short."""

    def __init__(self, data: bytes) -> None:
        self.left = len(data)
        self._stream = BytesIO(data)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if not 0 <= count <= self.left:
            raise DamagedFile("it breaks off")
        self.left -= count
        return self._stream.read(count)

    def number(self, count: int) -> int:
        """The next `count` bytes as a number."""
        return int.from_bytes(self.take(count), "big")


def _primary_item(fields: Fields) -> int:
    version = fields.number(1)
    fields.take(3)
    if version == 0:
        return fields.number(2)
    return fields.number(4)


def _item_kinds(content: bytes) -> dict[int, bytes]:
    """The kinds of all items by their numbers."""
    before = 6  # bytes: version and flags, and how many items follow
    if content[:1] != b"\0":
        before = 8
    kinds = {}
    for _, entry in boxes(content[before:]):
        fields = Fields(entry)
        version = fields.number(1)
        fields.take(3)
        width = 2
        if version == 3:
            width = 4
        number = fields.number(width)
        fields.take(2)
        kinds[number] = fields.take(4)
    return kinds


def _tiles_of(number: int, content: bytes) -> tuple[int, ...]:
    """The items that item `number` is derived from, by the references in the box "iref"."""
    if not content:
        return ()
    width = 2
    if content[0] > 0:
        width = 4
    for kind, entry in boxes(content[4:]):
        fields = Fields(entry)
        if kind == b"dimg" and fields.number(width) == number:
            return tuple(fields.number(width) for _ in range(fields.number(2)))
    return ()


def _property_numbers(fields: Fields) -> dict[int, list[int]]:
    """Which properties the items have, counted from 1, by the items' numbers."""
    version = fields.number(1)
    flags = fields.number(3)
    item_width = 2
    if version > 0:
        item_width = 4
    property_width = 1 + (flags & 1)
    essential = 1 << (8 * property_width - 1)  # the highest bit is a flag
    found = {}
    for _ in range(fields.number(4)):
        item = fields.number(item_width)
        found[item] = [fields.number(property_width) & ~essential for _ in range(fields.number(1))]
    return found
