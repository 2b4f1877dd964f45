"""Photos with all that is said of them beside: files, then masks, then captions, with a line about each."""

from __future__ import annotations

from .captions import add_captions, has_caption_file
from .masks import FILES, add_masks
from .photos import Photo, Source, read_photos


def read_described_photos(
    source: Source, masks: str = FILES, captions: bool = False, *, unused_captions: str
) -> tuple[list[Photo], list[str]]:
    """The photos of a folder or list, with masks from where `masks` says, and with their `captions` where wanted.

    `unused_captions`: the line that says how captions which lie there are used, where they are not wanted. Raises
    PhotoError and UnreadableFile.
    """
    photos, report = read_photos(source)
    photos, about_masks = add_masks(photos, masks)
    about_captions: list[str] = []
    if captions:
        photos, about_captions = add_captions(photos)
        about_captions = about_captions or ['No photo has a caption: it would be "dog.txt" beside "dog.jpg".']
    elif any(map(has_caption_file, photos)):
        about_captions = [unused_captions]
    return photos, [*report, *about_masks, *about_captions]
