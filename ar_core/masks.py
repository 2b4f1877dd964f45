"""Masks of photos: which part of a picture is the subject, from a file beside it, its alpha channel or a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from PIL import Image
from torch import Tensor

from .photos import Photo, PhotoError, Pixels, centre_crop, grey_levels, read_opacity, read_photo, upright_size
from .sidecars import check_is_file, mask_file

BLACK = 0
WHITE = 255  # where the subject is
FAINT = WHITE / 2  # a mask without a lighter level holds other numbers: segmentation tools write 0 and 1
FADED = 0.8  # how much of what is outside a mask is grey when it is shown

# Where masks come from, by the name that a user gives.
FILES = "files"
ALPHA = "alpha"
OFF = "off"
SOURCES = {
    FILES: '"dog-mask.png" beside "dog.jpg", white where the subject is',
    ALPHA: "the same, and of photos without such a file what is not transparent",
    OFF: "none",
}


def add_masks(photos: Sequence[Photo], source: str = FILES) -> tuple[list[Photo], list[str]]:
    """The photos, with the masks that `source` finds, and a line about each mask.

    Raises PhotoError for a mask that cannot be read, is almost black or is of another size than its photo, and
    UnreadableFile for what is no file.
    """
    if source == OFF:
        return list(photos), []
    files = [_file_of_mask(photo) for photo in photos]
    found: list[Photo] = []
    lines: list[str] = []
    for photo, file in zip(photos, files, strict=True):
        found.append(photo)
        owners = [photo.name]
        mask = None
        if file is not None:
            owners = [other.name for other, its in zip(photos, files, strict=True) if its == file]
            mask = _fitted(read_mask(file), file, photo)
        elif source == ALPHA and photo.file is not None:
            mask = read_opacity(photo.file)
        if mask is not None:
            found[-1], line = masked(photo, mask, owners)
            lines.append(line)
    return found, lines


def _file_of_mask(photo: Photo) -> Path | None:
    if photo.file is None:
        return None
    return mask_file(photo.file)


def _fitted(mask: Image.Image, file: Path, photo: Photo) -> Image.Image:
    """The mask at its photo's size, if both files are as large: large ones are reduced as their formats allow."""
    if mask.size == photo.size or photo.file is None or upright_size(file) != upright_size(photo.file):
        return mask
    return mask.resize(photo.size, Image.Resampling.BILINEAR)


def read_mask(file: Path) -> Image.Image:
    """A mask's file as 8-bit grey: of a picture with transparency what is not transparent.

    Raises PhotoError, and UnreadableFile for what is no file.
    """
    check_is_file(file)
    picture, reason = read_photo(file)
    if picture is None:
        raise PhotoError(
            f"The mask {file} cannot be used: {reason}. Save it again as a PNG, white where the subject is."
        )
    return read_opacity(file) or picture.convert("L")


def masked(photo: Photo, mask: Image.Image, owners: Sequence[str] = ()) -> tuple[Photo, str]:
    """The photo with a mask, and a line about it. A mask that marks nothing, or everything, is none.

    `owners`: the names of all photos whose mask it is. Raises PhotoError for one of another size, or almost black.
    """
    darkest, lightest = cast(tuple[int, int], mask.getextrema())
    if lightest == BLACK:
        return photo, f"{photo.name}: its mask is black everywhere, so all of the photo counts"
    if darkest == WHITE:
        return photo, f"{photo.name}: its mask is white everywhere, so all of the photo counts"
    if mask.size != photo.size:
        raise PhotoError(_another_size(photo, mask, owners))
    if lightest < FAINT:
        raise PhotoError(
            f"The mask of {photo.name} is almost black: its lightest level is {lightest} of {WHITE}. Make it anew "
            f"with {WHITE} (white) where the subject is and {BLACK} elsewhere."
        )
    share = sum(level * count for level, count in enumerate(mask.histogram())) / (WHITE * mask.width * mask.height)
    return photo.with_mask(mask), f"{photo.name}: its mask marks {share:.0%} of it as the subject"


def _another_size(photo: Photo, mask: Image.Image, owners: Sequence[str]) -> str:
    whose = photo.name
    which = "the photo"
    advice = "Make it anew from this photo."
    if len(owners) > 1:
        whose = " and ".join(owners)
        which = photo.name
        advice = "Rename one of these photos, and give each a mask of its own."
    return (
        f"The mask of {whose} is {_sides(mask.size)}, and {which} {_sides(photo.size)}: a mask must be as large as its "
        f"photo. {advice}"
    )


def crop_with_mask(photo: Photo, size: Pixels) -> Image.Image:
    """The photo's centre crop at `size`, grey outside its mask: for a look at what is learned."""
    crop = centre_crop(photo.image, size)
    if photo.mask is None:
        return crop
    mask = centre_crop(photo.mask.convert("RGB"), size).convert("L")
    faded = Image.blend(crop, Image.new("RGB", size, "grey"), FADED)
    return Image.composite(crop, faded, mask)


def _sides(size: Pixels) -> str:
    return f"{size[0]}x{size[1]}"


def add_tensor_masks(
    photos: Sequence[Photo], masks: Sequence[Tensor], name: str = "mask"
) -> tuple[list[Photo], list[str]]:
    """The photos with masks (B, H, W) or (H, W) in 0..1, one for each or one for all, and a line about each photo.

    `name`: what errors call the masks. Raises PhotoError for another number, shape or size, or almost black.
    """
    images = [image for batch in masks for image in _mask_images(batch, name)]
    if len(images) == 1:
        images *= len(photos)
    if len(images) != len(photos):
        raise PhotoError(
            f"{name} has {len(images)} masks for {len(photos)} photos: connect one for each photo, or one for all."
        )
    pairs = [masked(photo, mask) for photo, mask in zip(photos, images, strict=True)]
    return [photo for photo, _ in pairs], [line for _, line in pairs]


def _mask_images(masks: Tensor, name: str) -> list[Image.Image]:
    if masks.dim() == 2:
        masks = masks[None]
    if masks.dim() != 3 or 0 in masks.shape:
        raise PhotoError(f"{name} has the shape {tuple(masks.shape)}; masks of height and width are expected.")
    return [Image.fromarray(levels) for levels in grey_levels(masks.nan_to_num())]
