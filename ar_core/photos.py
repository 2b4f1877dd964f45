"""A user's files -> clean RGB images, one report line for every file, and seeded views for training."""

from __future__ import annotations

import hashlib
import math
import random
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP")
LARGEST = 40_000_000  # pixels; a bigger photo is reduced while it is read
SMALLEST = 64  # pixels of the shorter side; a smaller photo teaches blur
TURNS = dict(
    enumerate(  # EXIF orientation -> what turns the stored pixels upright
        ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"), 2
    )
)


class PhotoError(ValueError):
    """Photos that cannot be used; the message says what was expected and what to do."""


@dataclass(frozen=True)
class Photo:
    """One picture: 8-bit RGB, upright, without metadata."""

    name: str
    image: Image.Image


def read_photos(source: Path | str | Sequence[Path | str]) -> tuple[list[Photo], list[str]]:
    """The photos of a folder (in natural order, without subfolders) or of a list of files, and one line about each file.

    Files that are no usable picture are skipped with a line that says why. Raises PhotoError where nothing is left.
    """
    photos, report, names = [], [], {}
    for file in find_files(source):
        image, line = read_photo(file)
        if image is not None:
            first = names.setdefault(pixel_hash([image]), file)
            line += "" if first is file else f", same picture as {first.name}"
            photos.append(Photo(file.name, image))
        report.append(f"{file.name}: {line}")
    if not photos:
        place = source if isinstance(source, (str, Path)) else "the list of files"
        found = f" Found only {'; '.join(report[:5])}{'; …' if report[5:] else ''}." if report else ""
        wanted = f"put at least one picture there ({', '.join(FORMATS)}; subfolders are not read)"
        raise PhotoError(f"No usable photo in {place}: {wanted}.{found}")
    return photos, report


def find_files(source: Path | str | Sequence[Path | str]) -> list[Path]:
    files = [Path(file) for file in ([source] if isinstance(source, (str, Path)) else source)]
    if isinstance(source, (str, Path)) and files[0].is_dir():
        return sorted((file for file in files[0].iterdir() if not file.is_dir()), key=natural_order)
    for file in files:
        if not file.is_file():
            problem = "is a folder" if file.is_dir() else "does not exist"
            raise PhotoError(
                f"{file} {problem}: check the path, and give one folder of photos or a list of picture files."
            )
    return files


def natural_order(file: Path) -> tuple:
    """Sorts "dog 2.jpg" before "Dog 10.jpg"."""
    words = re.split(r"(\d+)", file.name.casefold())  # every second one is a number
    return [int(word) if i % 2 else word for i, word in enumerate(words)], file.name


def read_photo(file: Path) -> tuple[Image.Image | None, str]:
    """A clean image, or None, and what to tell the user about the file."""
    if file.name.startswith("."):
        return None, "skipped, hidden file"
    if file.name.casefold() in ("thumbs.db", "desktop.ini"):
        return None, "skipped, system file"
    Image.init()
    readable = [name for name in (*FORMATS, "HEIF") if name in Image.OPEN]  # HEIF where a plugin has added it
    try:
        with strict_pillow(), Image.open(file, formats=readable) as image:
            return clean(image)
    except UnidentifiedImageError:
        suffix = file.suffix.lower()
        if suffix in (".heic", ".heif"):
            return None, "skipped, HEIC cannot be read: save it as JPEG"
        claims = Image.registered_extensions().get(suffix) in readable
        return None, "skipped, damaged (no picture found in it)" if claims else "skipped, not an image"
    except Image.DecompressionBombError:
        return None, f"skipped, too large (above {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} megapixels): save it smaller"
    except Exception as error:  # decoders raise whatever their parsers run into
        return None, f"skipped, damaged ({error})"


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Truncated files raise and large ones do not warn, whatever another node pack has set."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def clean(image: Image.Image) -> tuple[Image.Image, str]:
    """The opened file as 8-bit RGB, upright, at most `LARGEST`, nothing but pixels; and what was done to get there."""
    width, height = image.size
    notes = [f"{width}x{height}" if min(image.size) >= SMALLEST else f"only {width}x{height}: expect a blurred subject"]
    if (
        getattr(image, "is_animated", False) and image.format != "MPO"
    ):  # a phone's MPO hides a depth map behind its photo
        notes.append("first frame only")
    factor = reduction(image)
    image.draft(
        None, (width // factor, height // factor)
    )  # JPEG decodes at 1/2, 1/4 or 1/8, without memory for the rest
    image.load()
    try:
        turn = TURNS.get(
            image.getexif().get(ExifTags.Base.Orientation)
        )  # after load(), in which Pillow turns a TIFF itself
    except Exception:  # a broken tag block is no reason to lose the photo
        turn = None
    image = to_rgb(image, notes)
    image = image.reduce(reduction(image))
    if factor > 1:
        notes.append(f"reduced to {image.width}x{image.height}")
    if turn:
        image = image.transpose(Image.Transpose[turn])
        notes.append("rotated by its EXIF tag")
    return image, ", ".join(notes)


def reduction(image: Image.Image) -> int:
    return math.ceil(math.sqrt(image.width * image.height / LARGEST))


def to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """8-bit RGB in a fresh image, so that no metadata comes along."""
    profile, alpha = image.info.get("icc_profile"), None
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion clips instead of scaling
        levels = np.nan_to_num(np.asarray(image, np.float32)).clip(0)
        top = max(1.0 if image.mode == "F" else 65535.0, levels.max())
        image = Image.fromarray((levels * (255 / top)).round().astype(np.uint8))
        notes.append("scaled to 8 bits")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image, alpha = image.convert("RGB"), image.getchannel("A")
        if alpha.getextrema()[0] < 255:
            notes.append("transparency put on white")
    if profile:  # phones store Display P3 and printers CMYK: without their profile the subject's colours would change
        try:
            image = ImageCms.profileToProfile(image, BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile, or one for another kind of image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.convert("RGB"), mask=alpha)
    return canvas


def centre_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the image at `size` (width, height), as much as fits."""
    return window(image, size, (image.width / 2, image.height / 2), cover(image, size))


def views(
    image: Image.Image, size: tuple[int, int], count: int, seed: int, shift: float, scale: float, flip: bool
) -> list[Image.Image]:
    """`count` variations of the centre crop: nearer or farther by up to 1/`scale`, moved by up to `shift` of a side.

    What lies outside the crop comes from the photo and, where the photo ends, repeats its edge. `flip` mirrors half
    of them. View k is drawn from (seed, k) alone, so asking for more keeps the first ones.
    """
    if not 0 < scale <= 1 or shift < 0:
        raise ValueError(f"Views need a scale above 0 and up to 1 and a shift of 0 or more, not {scale} and {shift}.")
    area = cover(image, size)
    across, down = (math.ceil(max(0, a * (0.5 + shift) / scale - side / 2)) for a, side in zip(area, image.size))
    image = Image.fromarray(np.pad(np.asarray(image), ((down, down), (across, across), (0, 0)), mode="edge"))
    made = []
    for k in range(count):
        rng = random.Random(f"{seed} {k}")
        zoom = scale ** rng.uniform(-1, 1)
        width, height = area[0] * zoom, area[1] * zoom
        centre = (
            image.width / 2 + rng.uniform(-shift, shift) * width,
            image.height / 2 + rng.uniform(-shift, shift) * height,
        )
        view = window(image, size, centre, (width, height))
        made.append(ImageOps.mirror(view) if flip and rng.random() < 0.5 else view)
    return made


def cover(image: Image.Image, size: tuple[int, int]) -> tuple[float, float]:
    """Sides of the largest area in the image with the proportions of `size`."""
    scale = min(image.width / size[0], image.height / size[1])
    return size[0] * scale, size[1] * scale


def window(
    image: Image.Image, size: tuple[int, int], centre: tuple[float, float], area: tuple[float, float]
) -> Image.Image:
    """The part of the image around `centre` with the sides `area`, at `size`.

    As the model's own photos were prepared: averages of whole blocks until less than twice as large, then bicubic.
    (Pillow's `reducing_gap` does the same with its blocks out of step with the box, which blurs.)
    """
    edges = [
        (round(c - a / 2, 4), round(c + a / 2, 4)) for c, a in zip(centre, area)
    ]  # no rounding dust: 3.9999999 blocks are 4
    (left, right), (top, bottom) = [(max(0, low), min(side, high)) for (low, high), side in zip(edges, image.size)]
    factor = max(1, int(min((right - left) / size[0], (bottom - top) / size[1])))
    x, y = math.floor(left), math.floor(top)
    small = image.reduce(factor, (x, y, math.ceil(right), math.ceil(bottom)))
    box = (left - x) / factor, (top - y) / factor, (right - x) / factor, (bottom - y) / factor
    return small.resize(size, Image.Resampling.BICUBIC, box=box)


def stack(images: Sequence[Image.Image]) -> torch.Tensor:
    """Images of one size as (B, H, W, 3), float32 in 0..1."""
    return torch.stack([torch.from_numpy(np.array(image.convert("RGB"))) for image in images]).float() / 255


def unstack(images: torch.Tensor) -> list[Image.Image]:
    """(B, H, W, 3) in 0..1 as images; the inverse of `stack`."""
    levels = (images.detach().float() * 255).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(array) for array in levels.cpu().numpy()]


def tensor_photos(batches: Sequence[torch.Tensor]) -> list[Photo]:
    """Photos from image tensors (B, H, W, C) or (H, W, C) in 0..1 with 1, 3 or 4 channels; transparency is put on white."""
    found = []
    for batch in batches:
        for image in batch if batch.dim() == 4 else batch[None]:
            if image.dim() != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
                raise PhotoError(
                    f"An image of the shape {tuple(image.shape)} is no picture: height, width and 1, 3 or 4 channels are expected."
                )
            levels = (image.detach().float().nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
            picture = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
            found.append(Photo(f"photo {len(found) + 1}", to_rgb(picture, [])))
    return found


def pixel_hash(images: Sequence[Image.Image]) -> str:
    """A name for what the images show, in their order, whatever their files are called."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.width}x{image.height} ".encode() + image.convert("RGB").tobytes())
    return digest.hexdigest()
