"""What is true of a scene, in the words that judges and captions use."""

from __future__ import annotations

from ..world.colours import nearest_colour_name
from ..world.markings import MARKINGS
from ..world.scenes import Scene, Subject
from ..world.vocabulary import ACCESSORIES, CLASSES, COLOURS, PATTERNS, PLACES

NOBODY = ""  # the class of a side where no subject stands
LEFT = "left"
RIGHT = "right"
SIDES = (LEFT, RIGHT)
# What a scene of one subject has, and the values of each.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "class": CLASSES,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "place": tuple(PLACES),
    "accessory": ("", *ACCESSORIES),
    "marking": ("", *MARKINGS),
}
CAPTIONED = ("class", "colour", "pattern", "place", "accessory")  # those that captions have words for
# What either side of a scene of two subjects has.
SIDE_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "class": (NOBODY, *CLASSES),
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
}


def subject_attributes(subject: Subject) -> dict[str, str]:
    """What is true of a subject. A free one has the colour that a caption would have to use.

    A texture is none of the patterns: its name stands in their place, and no caption ever says it.
    """
    colour = subject.words.split(" ")[0]
    return {
        "class": subject.kind,
        "colour": colour or nearest_colour_name(subject.colour),
        "pattern": subject.texture or subject.pattern,
        "accessory": subject.accessory,
        "marking": subject.marking,
    }


def scene_attributes(scene: Scene) -> dict[str, str]:
    """What is true of a scene of one subject, by attribute."""
    of_subject = subject_attributes(scene.subject)
    of_subject["place"] = scene.place
    return {name: of_subject[name] for name in ATTRIBUTES}


def captioned_attributes(scene: Scene) -> dict[str, str]:
    """What a caption can say of a scene of one subject, by attribute."""
    known = scene_attributes(scene)
    return {name: known[name] for name in CAPTIONED}


def left_to_right(scene: Scene) -> list[Subject]:
    """A scene's subjects as they stand."""
    return [placed.subject for placed in sorted(scene.placed, key=lambda placed: placed.x)]


def side_attributes(scene: Scene) -> dict[str, dict[str, str]]:
    """What is true of either side of a scene, by side. A single subject stands in the middle, at neither."""
    if len(scene.placed) == 1:
        return {side: {"class": NOBODY} for side in SIDES}
    sides = {}
    for side, subject in zip(SIDES, left_to_right(scene), strict=True):
        known = subject_attributes(subject)
        sides[side] = {name: known[name] for name in SIDE_ATTRIBUTES}
    return sides
