"""Captions of photos: text files beside them, which say what else a photo shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .files import read_text
from .photos import Photo
from .quoting import quoted
from .sidecars import caption_file


def add_captions(photos: Sequence[Photo]) -> tuple[list[Photo], list[str]]:
    """The photos with the captions beside their files, and a line about each caption.

    Line breaks become spaces; an empty file says nothing. Raises UnreadableFile, also for text that is not UTF-8.
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
    return " ".join(read_text(file).split())


def _caption_file(photo: Photo) -> Path | None:
    if photo.file is None:
        return None
    return caption_file(photo.file)
