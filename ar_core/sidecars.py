"""The files beside a photo that say something of it, its sidecars: "dog-mask.png" and "dog.txt" beside "dog.jpg"."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

MASK_ENDING = "-mask.png"
CAPTION_SUFFIX = ".txt"  # as other trainers have it


def mask_file(photo: Path) -> Path:
    """Where the mask of a photo lies, if it has one."""
    return photo.with_name(f"{photo.stem}{MASK_ENDING}")


def caption_file(photo: Path) -> Path:
    """Where the caption of a photo lies, if it has one."""
    return photo.with_suffix(CAPTION_SUFFIX)


def sidecars_of(files: Collection[Path], photos: Iterable[Path]) -> dict[Path, str]:
    """Those of `files` that are masks and captions of `photos`, and so none themselves, each with a line about it."""
    listed = set(files)
    lines = {}
    for photo in photos:
        mask = mask_file(photo)
        caption = caption_file(photo)
        if mask in listed:
            lines[mask] = f"the mask of {photo.name}"
        if caption in listed:
            lines[caption] = f"the caption of {photo.name}"
    return lines
