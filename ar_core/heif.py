"""Opening HEIC and AVIF: with pillow-heif and Pillow where they can, else with PyAV, which ComfyUI brings.

PyAV decodes single items of a file. It neither puts a phone's tiles together nor tells of mirroring and cropping, so
how the items make the photo is read from the file's boxes.
"""

from __future__ import annotations

import importlib
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from .heif_boxes import DamagedFile, Fields, HeifPhoto, read_heif_photo, whole_boxes

ONE_PICTURE = (b"hvc1", b"av01")  # kinds of items
GRID = b"grid"
QUARTERS = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}
MIRRORS = (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT)


class NoDecoder(Exception):
    """Nothing that is installed reads this file right; the message says what does."""


def open_heif(file: Path, name: str) -> Image.Image:
    """A HEIC or AVIF file as a Pillow image; `name`: its `heif_format`.

    Raises NoDecoder where nothing reads it, DecompressionBombError, and whatever decoders raise for a damaged file.
    """
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    whole_boxes(file)
    if name in Image.OPEN:
        return Image.open(file, formats=[name])
    return decode_with_pyav(file, name)


def decode_with_pyav(file: Path, name: str) -> Image.Image:
    """The photo, cropped and turned as the file says, with its colour profile. Raises as `open_heif`."""
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise _no_decoder(name, "it cannot be read here") from error
    photo = read_heif_photo(file)
    if photo.kind not in (*ONE_PICTURE, GRID):
        raise _no_decoder(name, f"photos of the kind {photo.kind.decode(errors='replace')} cannot be read here")
    if photo.transparent:
        raise _no_decoder(name, "its transparency would be lost")
    _check_size(photo.size)
    with av.open(str(file)) as container:
        image = _stored_picture(container, photo)
    if image.size != photo.size:
        raise DamagedFile(f"its photo has {image.width}x{image.height} pixels instead of {photo.size}")
    return _as_described(image, photo)


def _no_decoder(name: str, problem: str) -> NoDecoder:
    if name == "AVIF":
        return NoDecoder(f"AVIF: {problem}. Save it as JPEG, or update Pillow (pip install --upgrade pillow)")
    return NoDecoder(f"HEIC: {problem}. Save it as JPEG, or install pillow-heif (pip install pillow-heif)")


def _check_size(size: tuple[int, int]) -> None:
    """Raise DecompressionBombError where Pillow would."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > 2 * limit:
        raise Image.DecompressionBombError(f"{size[0]}x{size[1]} pixels")


def _stored_picture(container: Any, photo: HeifPhoto) -> Image.Image:
    """The pixels before cropping and turning."""
    if photo.kind == GRID:
        return _joined_tiles(container, photo)
    return _item_picture(container, photo.number)


def _item_picture(container: Any, number: int) -> Image.Image:
    """The stored pixels of one item. `container`: the file, opened with PyAV, whose streams are the file's items."""
    streams = [stream for stream in container.streams.video if stream.id == number]
    if not streams:
        raise DamagedFile("a part of its photo is missing")
    container.seek(0)
    frame = next(container.decode(streams[0]), None)
    if frame is None or frame.is_corrupt:
        raise DamagedFile("its photo cannot be decoded")
    return Image.fromarray(frame.to_ndarray(format="rgb24"))


def _joined_tiles(container: Any, photo: HeifPhoto) -> Image.Image:
    """Tiles of equal size, row by row; those at the right and at the bottom stand out over the photo."""
    width, height = photo.size
    if not photo.tiles:
        raise DamagedFile("its tiles are missing")
    first = _item_picture(container, photo.tiles[0])
    columns = math.ceil(width / first.width)
    rows = math.ceil(height / first.height)
    if len(photo.tiles) != columns * rows:
        raise DamagedFile(f"it has {len(photo.tiles)} tiles where {columns} x {rows} cover its photo")
    joined = Image.new("RGB", photo.size)
    for place, number in enumerate(photo.tiles):
        tile = _item_picture(container, number)
        if tile.size != first.size:
            raise DamagedFile("its tiles are of different sizes")
        row, column = divmod(place, columns)
        joined.paste(tile, (column * first.width, row * first.height))
    return joined


def _as_described(image: Image.Image, photo: HeifPhoto) -> Image.Image:
    profile = None
    for kind, content in photo.properties:
        if kind == b"clap":
            image = image.crop(_cropped(image.size, content))
        elif kind == b"irot" and content[0] & 3:
            image = image.transpose(QUARTERS[content[0] & 3])
        elif kind == b"imir":
            image = image.transpose(MIRRORS[content[0] & 1])
        elif kind == b"colr" and content[:4] in (b"prof", b"rICC"):
            profile = content[4:]
    if profile:
        image.info["icc_profile"] = profile
    return image


def _cropped(size: tuple[int, int], content: bytes) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of a clean aperture: sides, and how far its centre is from the image's."""
    fields = Fields(content)
    width = _fraction(fields)
    height = _fraction(fields)
    left = round((size[0] - width) / 2 + _fraction(fields))
    top = round((size[1] - height) / 2 + _fraction(fields))
    right = left + round(width)
    bottom = top + round(height)
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise DamagedFile("it is cropped to more than its photo")
    return left, top, right, bottom


def _fraction(fields: Fields) -> float:
    numerator = int.from_bytes(fields.take(4), "big", signed=True)
    denominator = int.from_bytes(fields.take(4), "big", signed=True)
    if denominator == 0:
        raise DamagedFile("it is cropped by a fraction of zero")
    return numerator / denominator
