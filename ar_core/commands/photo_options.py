"""The options of a command that learns from photos: the photos, and what of the files beside them is used."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..described_photos import read_described_photos
from ..families.family import Family
from ..families.protocol import Size
from ..masks import FILES, SOURCES
from ..photos import Photo
from ..training import TrainingSettings
from ..training.aspect import size_of_photos
from .options import image_size
from .shared import note_size


def photo_options(command: argparse.ArgumentParser) -> None:
    """The photos, what lies beside them, and the size of the pictures that are made of them."""
    command.add_argument(
        "--photos", type=Path, required=True, nargs="+", help="folder with photos of one subject, or several files"
    )
    command.add_argument(
        "--masks",
        choices=tuple(SOURCES),
        default=FILES,
        help="where masks come from, outside which codes weigh less (--background-weight). "
        + "; ".join(f"{name}: {meaning}" for name, meaning in SOURCES.items())
        + " (default: %(default)s)",
    )
    command.add_argument(
        "--captions",
        action="store_true",
        help='read "dog.txt" beside "dog.jpg": what else the photo shows, which its training prompts then say too',
    )
    size = command.add_mutually_exclusive_group()
    size.add_argument(
        "--size",
        type=image_size,
        metavar="WIDTHxHEIGHT",
        help="of the photos, snapped to the nearest that the model knows (default: the recipe's)",
    )
    size.add_argument(
        "--keep-aspect",
        action="store_true",
        help="learn from pictures of the photos' shape: the model's size that is nearest to the photo in the middle",
    )


def chosen_photos(options: argparse.Namespace) -> list[Photo]:
    """The photos with the masks and captions that the options ask for; prints a line about every file.

    Raises PhotoError and UnreadableFile.
    """
    photos, report = read_described_photos(
        options.photos[0] if len(options.photos) == 1 else options.photos,
        options.masks,
        options.captions,
        unused_captions="note: the captions beside the photos are not used; --captions uses them.",
    )
    print("\n".join(report))
    return photos


def note_masks(photos: list[Photo], settings: TrainingSettings, weight_given: bool) -> None:
    """Say what the masks change, or that there is none for the weight that was given."""
    count = sum(photo.mask is not None for photo in photos)
    if count:
        print(f"masks: {count} of {len(photos)} photos; codes outside weigh {settings.background_weight}")
    elif weight_given:
        print("note: no photo has a mask, so --background-weight changes nothing.")


def chosen_size(options: argparse.Namespace, family: Family, photos: list[Photo]) -> Size | None:
    """The size of the pictures to learn from; None for the recipe's. Raises ValueError."""
    if options.keep_aspect:
        width, height = size_of_photos(family, photos)
        print(f"size: {width}x{height}, the nearest to the photos' shape")
        return width, height
    if options.size:
        note_size(family, options.size)
        return family.snap(*options.size)
    return None
