"""Captions of photos: text files beside them, which say what else a photo shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .files import UnreadableFile, read_text
from .photos import Photo
from .quoting import quoted
from .sidecars import caption_file, check_is_file
from .words import without_invisible

LARGEST = 100_000  # bytes; no prompt holds a hundredth of it, and to find that out takes seconds


def add_captions(photos: Sequence[Photo]) -> tuple[list[Photo], list[str]]:
    """The photos with the captions beside their files, and a line about each caption.

    Line breaks become spaces; a file without visible letters says nothing. Raises UnreadableFile, also for text
    that is not UTF-8 or too long.
    """
    found: list[Photo] = []
    lines: list[str] = []
    for photo in photos:
        found.append(photo)
        if not has_caption_file(photo):
            continue
        caption = read_caption(photo)
        if caption:
            found[-1] = photo.with_caption(caption)
            lines.append(f"{photo.name}: caption {quoted(caption)}")
        else:
            lines.append(f"{photo.name}: its caption is empty")
    return found, lines


def has_caption_file(photo: Photo) -> bool:
    """Whether a caption lies beside the photo's file."""
    return _caption_file(photo) is not None


def read_caption(photo: Photo) -> str:
    """The text beside the photo's file as one line. Raises UnreadableFile."""
    file = _caption_file(photo)
    if file is None:
        return ""
    check_is_file(file)
    size = file.stat().st_size
    if size > LARGEST:
        raise UnreadableFile(
            f"{file} has {size} bytes; a caption has at most {LARGEST}. Write there in a few words what else the photo "
            "shows."
        )
    caption = " ".join(read_text(file).split())
    if not without_invisible(caption).strip():
        return ""
    return caption


def _caption_file(photo: Photo) -> Path | None:
    if photo.file is None:
        return None
    return caption_file(photo.file)
