"""Captions in training prompts: what else a photo shows is said, so that it is not learned as a part of the subject.

    dog.txt                            the prompts of that photo
    on a red sofa                      a photo of [V] dog, on a red sofa   (every template, a comma, the caption)
    [V] dog asleep on a red sofa       [V] dog asleep on a red sofa        (the caption itself, for every template)

In a caption that has the subject's place, {} may stand for its name.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..families.protocol import Protocol, Size
from ..photos import Photo
from ..quoting import quoted
from ..styles import full_name
from ..text import BRACKETED, TextError
from .templates import SLOT, default_templates, with_slot


def captioned_templates(templates: Sequence[str], caption: str) -> list[str]:
    """As many prompts with {} where the subject goes as there are `templates`, for a photo with that caption, or "".

    As many, so that what is drawn at random for other photos stays the same.
    """
    if not caption:
        return list(templates)
    if SLOT in caption:
        return [caption] * len(templates)
    return [f"{template}, {caption}" for template in templates]


def read_captions(
    photos: Sequence[Photo], protocol: Protocol, size: Size, identifier: str, class_name: str
) -> tuple[str, ...]:
    """Each photo's caption, with {} where it names the subject; none where no photo has one.

    Raises TextError, with the photo's name, for a caption that the default templates cannot hold with the class
    word; other templates, and what takes that word's place, are known to `Examples`, which raises for theirs.
    """
    if not any(photo.caption for photo in photos):
        return ()
    captions = []
    for photo in photos:
        caption = with_slot(photo.caption, identifier, class_name)
        if caption:
            _check_names(caption, photo, identifier, class_name)
            _check_prompts(caption, photo, protocol, size, class_name)
        captions.append(caption)
    return tuple(captions)


def _check_names(caption: str, photo: Photo, identifier: str, class_name: str) -> None:
    other = BRACKETED.search(caption)
    if other is None:
        return
    written = other.group()
    if SLOT in written:  # made of the subject's name in brackets of its own
        written = photo.caption
    raise TextError(
        f"The caption of {photo.name} has {quoted(written)}, which names nothing in a training. The subject is {SLOT} "
        f'or "{full_name(identifier, class_name)}".'
    )


def _check_prompts(caption: str, photo: Photo, protocol: Protocol, size: Size, class_name: str) -> None:
    for prompt in captioned_templates(default_templates(class_name), caption):
        try:
            protocol.prompt(prompt.replace(SLOT, class_name), size)
        except TextError as error:
            raise TextError(f"The caption of {photo.name} cannot be used. {error}") from error
