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
from ..text import BRACKETED, NEUTRAL_TEMPLATES, TextError
from .templates import SLOT, with_slot


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

    Raises TextError, with the photo's name, for a caption that no prompt can hold.
    """
    if not any(photo.caption for photo in photos):
        return ()
    captions = []
    for photo in photos:
        caption = with_slot(photo.caption, identifier, class_name)
        if caption:
            _check(caption, f"The caption of {photo.name}", protocol, size, identifier, class_name)
        captions.append(caption)
    return tuple(captions)


def _check(caption: str, where: str, protocol: Protocol, size: Size, identifier: str, class_name: str) -> None:
    other = BRACKETED.search(caption)
    if other is not None:
        raise TextError(
            f"{where} has {quoted(other.group())}, which names nothing in a training. The subject is {SLOT} or "
            f'"{full_name(identifier, class_name)}".'
        )
    for prompt in captioned_templates(NEUTRAL_TEMPLATES[:1], caption):
        try:
            protocol.prompt(prompt.replace(SLOT, class_name), size)
        except TextError as error:
            raise TextError(f"{where} cannot be used. {error}") from error
