"""A user's files -> clean RGB images, one report line for every file, and seeded views for training."""

from __future__ import annotations

import copy
import hashlib
import math
import os
import random
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from .files import shown_path
from .heif import NoDecoder, open_heif
from .heif_boxes import heif_format
from .sidecars import sidecars_of, why_no_mask

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")  # Pillow's names; HEIC and AVIF are opened by `heif`
LARGEST = 40_000_000  # pixels; a bigger photo is reduced while it is read
HELD = 12_000_000  # bytes; the pixels of a larger photo are not held, but its file
LONGEST_TEXT = 2**26  # bytes of a text or a colour profile in a PNG; Pillow alone refuses a profile of a megabyte
SMALLEST = 64  # pixels of the shorter side; a smaller photo teaches blur
HEIF_SUFFIXES = (".heic", ".heif", ".hif", ".avif")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
TURNS = {  # EXIF orientation -> what turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SIDEWAYS = tuple(TURNS[orientation] for orientation in (5, 6, 7, 8))  # width becomes height

Pixels = tuple[int, int]  # width, height
Source = Path | str | Sequence[Path | str]  # a folder, or a list of files


class PhotoError(ValueError):
    """Photos that cannot be used; the message says what was expected and what to do."""


class Photo:
    """One picture: 8-bit RGB, upright, without metadata; and what is said of it beside.

    A large one is held as its file was and decoded anew whenever it is looked at: a host keeps photos for hours.
    `mask` (8-bit grey, as large as the picture): white where the subject is; None where nothing says so. `caption`:
    what else the picture shows, "" where nothing says so.
    """

    mask: Image.Image | None = None
    caption = ""

    def __init__(self, name: str, image: Image.Image, encoded: bytes | None = None, file: Path | None = None):
        """`encoded`: the content of the file that `image` was read from, for a large one. `file`: where that is."""
        self.name = name
        self.file = file
        self.size: Pixels = image.size
        self._encoded = encoded
        self._image: Image.Image | None = None
        if encoded is None:
            self._image = image

    @property
    def image(self) -> Image.Image:
        """The picture itself."""
        if self._image is not None:
            return self._image
        with strict_pillow(), Image.open(BytesIO(self._encoded or b""), formats=FORMATS) as image:
            return clean_photo(image)[0]

    def with_mask(self, mask: Image.Image) -> Photo:
        """The same picture with a mask of its size."""
        photo = copy.copy(self)
        photo.mask = mask
        return photo

    def with_caption(self, caption: str) -> Photo:
        """The same picture with a caption."""
        photo = copy.copy(self)
        photo.caption = caption
        return photo

    @property
    def held_bytes(self) -> int:
        """What it takes in memory, with its mask."""
        pixels = self.size[0] * self.size[1]
        mask = 0
        if self.mask is not None:
            mask = pixels
        if self._encoded is not None:
            return len(self._encoded) + mask
        return 3 * pixels + mask


# ---------------------------------------------------------------- which files


def read_photos(source: Source) -> tuple[list[Photo], list[str]]:
    """The photos of a folder (in natural order, without subfolders) or of a list of files, and a line about each file.

    Files that are no usable picture are skipped with a line that says why; so are masks and captions, which are read by
    `masks` and `captions`. Raises PhotoError where nothing is left.
    """
    photos: list[Photo] = []
    report: list[str] = []
    first_file: dict[str, Path] = {}  # by the hash of the pixels
    files = find_files(source)
    sidecars = sidecars_of(files, [file for file in files if looks_like_photo(file)])
    for file in files:
        if file in sidecars:
            report.append(f"{file.name}: {sidecars[file]}")
            continue
        image, line = read_photo(file)
        if image is None:
            report.append(f"{file.name}: skipped, {line}")
            continue
        first = first_file.setdefault(pixel_hash([image]), file)
        if first is not file:
            line += f", same picture as {first.name}"
        photos.append(Photo(file.name, image, _encoded(file, image), file))
        report.append(f"{file.name}: {line}{why_no_mask(file)}")
    if not photos:
        raise PhotoError(_nothing_usable(source, report))
    return photos, report


def _encoded(file: Path, image: Image.Image) -> bytes | None:
    """The content of a file that holds a large picture in fewer bytes than its pixels take; None for others."""
    pixels = 3 * image.width * image.height
    if pixels <= HELD or heif_format(file):
        return None
    content = file.read_bytes()
    if len(content) >= pixels:
        return None
    return content


def find_files(source: Source) -> list[Path]:
    """The files of a folder, or those that were listed. Raises PhotoError for a path that is no file."""
    if isinstance(source, str | Path):
        folder = Path(source)
        if os.path.isdir(folder):
            # Neither folders nor pipes and devices, which would be waited for; a link to nothing is reported later.
            files = [file for file in folder.iterdir() if file.is_file() or (file.is_symlink() and not file.exists())]
            return sorted(files, key=natural_order)
        source = [source]
    files = [Path(file) for file in source]
    for file in files:
        if not os.path.isfile(file):
            problem = "is a folder" if os.path.isdir(file) else "does not exist"
            raise PhotoError(
                f"{shown_path(file)} {problem}: check the path, and give one folder of photos or a list of "
                "picture files."
            )
    return files


def looks_like_photo(file: Path) -> bool:
    """By its suffix alone."""
    suffix = file.suffix.lower()
    return Image.registered_extensions().get(suffix) in FORMATS or suffix in HEIF_SUFFIXES


def natural_order(file: Path) -> tuple[list[str | int], str]:
    """Sorts "dog 2.jpg" before "Dog 10.jpg"."""
    words = re.split(r"(\d+)", file.name.casefold())  # every second one is a number
    return [int(word) if i % 2 else word for i, word in enumerate(words)], file.name


def _nothing_usable(source: Source, report: list[str]) -> str:
    place = "the list of files"
    if isinstance(source, str | Path):
        place = str(source)
    message = f"No usable photo in {place}: put at least one picture there ({', '.join(FORMATS)}, HEIC, AVIF; "
    message += "subfolders are not read)."
    if report:
        shown = report[:5]
        if len(report) > len(shown):
            shown.append("…")
        message += f" Found only {'; '.join(shown)}."
    return message


# ---------------------------------------------------------------- one file


def read_photo(file: Path) -> tuple[Image.Image | None, str]:
    """A clean image and what to tell the user about the file, or None and why it cannot be used."""
    if file.name.startswith("."):
        return None, "hidden file"
    if file.name.casefold() in SYSTEM_FILES:
        return None, "system file"
    try:
        with strict_pillow(), open_picture(file) as image:
            return clean_photo(image)
    except UnidentifiedImageError:
        return None, _unidentified(file)
    except NoDecoder as error:
        return None, str(error)
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        return None, f"too large (above {limit:.0f} megapixels): save it smaller"
    except Exception as error:  # decoders raise whatever their parsers run into
        return None, f"damaged ({error})"


def open_picture(file: Path) -> Image.Image:
    """The file as an image that is not loaded yet; what decoders raise comes through."""
    heif = heif_format(file)
    if heif:
        return open_heif(file, heif)
    return Image.open(file, formats=FORMATS)


def _unidentified(file: Path) -> str:
    """What to say about a file in which no picture was found."""
    if looks_like_photo(file):
        return "damaged (no picture found in it)"
    return "not an image"


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Truncated files raise, large ones do not warn and long texts are read over, whatever another pack has set."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    texts = (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_CHUNK = LONGEST_TEXT
    PngImagePlugin.MAX_TEXT_MEMORY = LONGEST_TEXT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
        PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = texts


def clean_photo(image: Image.Image) -> tuple[Image.Image, str]:
    """The opened file as 8-bit RGB, upright, at most `LARGEST`, nothing but pixels; and what was done for that."""
    size = f"{image.width}x{image.height}"
    notes = [size]
    if min(image.size) < SMALLEST:
        notes = [f"only {size}: expect a blurred subject"]
    is_animated = getattr(image, "is_animated", False)
    if is_animated and image.format != "MPO":  # a phone's MPO hides a depth map behind its photo
        notes.append("first frame only")
    factor = photo_reduction(image)
    # JPEG decodes at 1/2, 1/4 or 1/8, without memory for the rest.
    image.draft(None, (image.width // factor, image.height // factor))
    image.load()
    turn = _turn(image)
    image = photo_to_rgb(image, notes)
    image = image.reduce(photo_reduction(image))
    if factor > 1:
        notes.append(f"reduced to {image.width}x{image.height}")
    if turn is not None:
        image = image.transpose(turn)
        notes.append("rotated by its EXIF tag")
    return image, ", ".join(notes)


def photo_reduction(image: Image.Image) -> int:
    """By how much each side must be divided to have at most `LARGEST` pixels."""
    return math.ceil(math.sqrt(image.width * image.height / LARGEST))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns a loaded image upright. Pillow turns a TIFF itself, while it is loaded."""
    if image.format == "TIFF":
        return None
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken tag block is no reason to lose the photo
        return None
    return TURNS.get(orientation)


def upright_size(file: Path) -> Pixels:
    """Of a picture's file, before anything is reduced. What decoders raise comes through."""
    with strict_pillow(), open_picture(file) as image:
        width, height = image.size
        if _turn(image) in SIDEWAYS:
            return height, width
        return width, height


def photo_to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """8-bit RGB in a fresh image, so that no metadata comes along; adds what was done to `notes`."""
    profile = image.info.get("icc_profile")
    alpha = None
    if image.mode.startswith(("I", "F")):
        image = _in_8_bits(image)
        notes.append("scaled to 8 bits")
    elif has_alpha(image):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
        lowest = cast(tuple[int, int], alpha.getextrema())[0]
        if lowest < 255:
            notes.append("transparency put on white")
    if profile:
        image = _in_srgb(image, profile)
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.convert("RGB"), mask=alpha)
    return canvas


def read_opacity(file: Path) -> Image.Image | None:
    """How opaque each pixel of a photo's file is (8-bit grey), upright and as large as the photo that is read from it.

    None where all of it is. What decoders raise comes through.
    """
    with strict_pillow(), open_picture(file) as image:
        factor = photo_reduction(image)
        image.draft(None, (image.width // factor, image.height // factor))
        image.load()
        if not has_alpha(image):
            return None
        turn = _turn(image)
        alpha = image.convert("RGBA").getchannel("A")
    alpha = alpha.reduce(photo_reduction(alpha))
    if turn is not None:
        alpha = alpha.transpose(turn)
    if cast(tuple[int, int], alpha.getextrema())[0] == 255:
        return None
    return alpha


def has_alpha(image: Image.Image) -> bool:
    """Whether some of the picture may be transparent. Pillow's own property for it came with 10.1."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _in_8_bits(image: Image.Image) -> Image.Image:
    """An image of 16 or 32 bits, grey. Pillow's own conversion clips instead of scaling."""
    levels = np.nan_to_num(np.asarray(image, np.float32)).clip(0)
    top = 65535.0
    if image.mode == "F":
        top = 1.0
    top = max(top, levels.max())
    return Image.fromarray((levels * (255 / top)).round().astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image in the colours that its ICC profile means.

    Phones store Display P3 and printers CMYK: without their profile the subject's colours would change.
    """
    try:
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, BytesIO(profile), srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # a broken profile, or one for another kind of image
    return converted or image


# ---------------------------------------------------------------- crops and views


def centre_crop(image: Image.Image, size: Pixels) -> Image.Image:
    """The middle of the image at `size` (width, height), as much as fits."""
    return cut_view(image, size, (image.width / 2, image.height / 2), largest_crop(image, size))


def photo_views(
    image: Image.Image, size: Pixels, count: int, seed: int, shift: float, scale: float, flip: bool
) -> list[Image.Image]:
    """`count` variations of the centre crop: nearer or farther by up to 1/`scale`, moved by up to `shift` of a side.

    What lies outside the crop comes from the photo and, where the photo ends, repeats its edge. `flip` mirrors half
    of them. View k is drawn from (seed, k) alone, so asking for more keeps the first ones. Raises ValueError for a
    scale or shift that cannot be meant.
    """
    if not 0 < scale <= 1 or shift < 0:
        raise ValueError(f"Views need a scale above 0 and up to 1 and a shift of 0 or more, not {scale} and {shift}.")
    area = largest_crop(image, size)
    # How far the largest view reaches beyond the photo when it is moved as far as it may be.
    across = math.ceil(max(0, area[0] * (0.5 + shift) / scale - image.width / 2))
    down = math.ceil(max(0, area[1] * (0.5 + shift) / scale - image.height / 2))
    padded = Image.fromarray(np.pad(np.asarray(image), ((down, down), (across, across), (0, 0)), mode="edge"))
    return [_view(padded, size, area, random.Random(f"{seed} {k}"), shift, scale, flip) for k in range(count)]


def _view(
    image: Image.Image,
    size: Pixels,
    area: tuple[float, float],
    rng: random.Random,
    shift: float,
    scale: float,
    flip: bool,
) -> Image.Image:
    zoom = scale ** rng.uniform(-1, 1)
    width = area[0] * zoom
    height = area[1] * zoom
    x = image.width / 2 + rng.uniform(-shift, shift) * width
    y = image.height / 2 + rng.uniform(-shift, shift) * height
    view = cut_view(image, size, (x, y), (width, height))
    if flip and rng.random() < 0.5:
        return ImageOps.mirror(view)
    return view


def largest_crop(image: Image.Image, size: Pixels) -> tuple[float, float]:
    """Sides of the largest area in the image with the proportions of `size`."""
    scale = min(image.width / size[0], image.height / size[1])
    return size[0] * scale, size[1] * scale


def cut_view(image: Image.Image, size: Pixels, centre: tuple[float, float], area: tuple[float, float]) -> Image.Image:
    """The part of the image around `centre` with the sides `area`, at `size`.

    As the model's own photos were prepared: averages of whole blocks until less than twice as large, then bicubic.
    (Pillow's `reducing_gap` does the same with its blocks out of step with the box, which blurs.)
    """
    left, right = _edges(centre[0], area[0], image.width)
    top, bottom = _edges(centre[1], area[1], image.height)
    factor = max(1, int(min((right - left) / size[0], (bottom - top) / size[1])))
    x = math.floor(left)
    y = math.floor(top)
    small = image.reduce(factor, (x, y, math.ceil(right), math.ceil(bottom)))
    box = ((left - x) / factor, (top - y) / factor, (right - x) / factor, (bottom - y) / factor)
    return small.resize(size, Image.Resampling.BICUBIC, box=box)


def _edges(centre: float, length: float, side: int) -> tuple[float, float]:
    """Where `length` around `centre` begins and ends within 0 and `side`, without rounding dust: 3.9999999 is 4."""
    return max(0, round(centre - length / 2, 4)), min(side, round(centre + length / 2, 4))


# ---------------------------------------------------------------- tensors and hashes


def stack(images: Sequence[Image.Image]) -> Tensor:
    """Images of one size as (B, H, W, 3), float32 in 0..1."""
    return torch.stack([torch.from_numpy(np.array(image.convert("RGB"))) for image in images]).float() / 255


def unstack(images: Tensor) -> list[Image.Image]:
    """(B, H, W, 3) in 0..1 as images; the inverse of `stack`."""
    return [Image.fromarray(levels) for levels in grey_levels(images)]


def tensor_photos(batches: Sequence[Tensor], first: int = 1) -> list[Photo]:
    """Photos from image tensors (B, H, W, C) or (H, W, C) in 0..1 with 1, 3 or 4 channels.

    Transparency is put on white. `first`: the number of the first one. Raises PhotoError for other shapes.
    """
    photos: list[Photo] = []
    for batch in batches:
        if batch.dim() != 4:
            batch = batch[None]
        for image in batch:
            photos.append(Photo(f"photo {first + len(photos)}", _tensor_image(image)))
    return photos


def _tensor_image(image: Tensor) -> Image.Image:
    if image.dim() != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        raise PhotoError(
            f"An image of the shape {tuple(image.shape)} is no picture: height, width and 1, 3 or 4 channels are "
            "expected."
        )
    levels = grey_levels(image.nan_to_num())
    if levels.shape[-1] == 1:
        levels = levels[..., 0]
    return photo_to_rgb(Image.fromarray(levels), [])


def grey_levels(images: Tensor) -> np.ndarray:
    """0..1 as 0..255, of any shape."""
    return (images.detach().float() * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def pixel_hash(images: Iterable[Image.Image]) -> str:
    """A name for what the images show, in their order, whatever their files are called."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.width}x{image.height} ".encode() + image.convert("RGB").tobytes())
    return digest.hexdigest()
