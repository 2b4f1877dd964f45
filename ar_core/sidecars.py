"""The files beside a photo that say something of it, its sidecars: "dog-mask.png" and "dog.txt" beside "dog.jpg".

Names are compared without case: "dog-mask.PNG" and "Dog.TXT" are sidecars of "dog.jpg" too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from .files import UnreadableFile, shown_path

MASK_STEM = "-mask"  # ends it
MASK_SUFFIX = ".png"
CAPTION_SUFFIX = ".txt"  # as other trainers have it


def mask_file(photo: Path) -> Path | None:
    """The mask beside a photo, which may be no file; None where nothing has its name."""
    return _existing(_mask_name(photo))


def caption_file(photo: Path) -> Path | None:
    """The caption beside a photo, which may be no file; None where nothing has its name."""
    return _existing(_caption_name(photo))


def sidecars_of(files: Collection[Path], photos: Iterable[Path]) -> dict[Path, str]:
    """Those of `files` that are masks and captions of `photos`, and so none themselves, each with a line about it."""
    listed = _by_name(files)
    masks: dict[Path, list[str]] = {}  # the names of the photos that a mask belongs to
    captions: dict[Path, list[str]] = {}
    for photo in dict.fromkeys(photos):
        mask = _find(_mask_name(photo), listed)
        if mask is not None:
            masks.setdefault(mask, []).append(photo.name)
        caption = _find(_caption_name(photo), listed)
        if caption is not None:
            captions.setdefault(caption, []).append(photo.name)
    lines = {file: f"the mask of {' and '.join(names)}" for file, names in masks.items()}
    lines |= {file: f"the caption of {' and '.join(names)}" for file, names in captions.items()}
    return lines


def check_is_file(sidecar: Path) -> None:
    """Raise UnreadableFile for what has a sidecar's name and is none; a pipe would be waited for."""
    if not os.path.isfile(sidecar):
        raise UnreadableFile(
            f"{shown_path(sidecar)} is called like a mask or caption and is no file, but a folder, a pipe or a link to "
            "nothing. Put the file there, or remove what is there."
        )


def why_no_mask(photo: Path) -> str:
    """The end of the line about a photo that is called like a mask; "" for others."""
    if not photo.stem.casefold().endswith(MASK_STEM):
        return ""
    if photo.suffix.casefold() != MASK_SUFFIX:
        return ", taken for a photo: masks are PNG files"
    return f", taken for a photo: there is no photo called {photo.stem[: -len(MASK_STEM)]}"


def _mask_name(photo: Path) -> Path:
    return photo.with_name(f"{photo.stem}{MASK_STEM}{MASK_SUFFIX}")


def _caption_name(photo: Path) -> Path:
    return photo.with_suffix(CAPTION_SUFFIX)


def _existing(wanted: Path) -> Path | None:
    """What lies at the path, or beside it under a name that differs in case alone: a file, a folder, a broken link."""
    try:
        files = list(wanted.parent.iterdir())
    except OSError:  # a folder may be closed to a look at its list, and its files open
        files = [wanted]
    file = _find(wanted, _by_name(files))
    if file is None or not os.path.lexists(file):
        return None
    return file


def _find(wanted: Path, files: dict[Path, Path]) -> Path | None:
    return files.get(wanted) or files.get(_without_case(wanted))


def _by_name(files: Collection[Path]) -> dict[Path, Path]:
    """Files by their names without case, and by their own, which go first."""
    return {_without_case(file): file for file in files} | {file: file for file in files}


def _without_case(file: Path) -> Path:
    return file.with_name(file.name.casefold())
