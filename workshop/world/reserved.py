"""What no training may show, so that tables are about subjects that were never seen.

Two things: combinations that are held out, in whatever words or none, and the subjects that evaluations personalize.
"""

from __future__ import annotations

from .benchmark_subjects import IN_RANGE, OUT_OF_RANGE
from .colours import Colour, colour_distance, nearest_colour_name
from .held_out import is_held_out
from .scenes import Subject
from .tuning_subjects import TUNING

ALIKE = 80.0  # colours nearer than this are similar
UNSEEN = (*IN_RANGE.values(), *OUT_OF_RANGE.values(), *TUNING.values())


def is_reserved(subject: Subject) -> bool:
    """Whether training must not show `subject`."""
    return looks_held_out(subject) or resembles_unseen(subject)


def looks_held_out(subject: Subject) -> bool:
    """Whether a caption that described `subject` would name a combination that is held out.

    A texture is none of the patterns that a caption could name.
    """
    return not subject.texture and is_held_out(subject.kind, nearest_colour_name(subject.colour), subject.pattern)


def resembles_unseen(subject: Subject) -> bool:
    """Whether `subject` is much like one that evaluations personalize."""
    return any(resembles(subject, other) for other in UNSEEN)


def resembles(one: Subject, other: Subject) -> bool:
    """Whether both are of one class, with the same skin and marking, in similar colours.

    Proportions and accessories make no difference.
    """
    if one.kind != other.kind or _kind_of_look(one) != _kind_of_look(other):
        return False
    pairs = zip(_visible_colours(one), _visible_colours(other), strict=True)
    return all(colour_distance(colour, similar) < ALIKE for colour, similar in pairs)


def _kind_of_look(subject: Subject) -> tuple[str, str]:
    return subject.texture or subject.pattern, subject.marking


def _visible_colours(subject: Subject) -> list[Colour]:
    """As many for all subjects of one kind of look."""
    colours = [subject.colour]
    if subject.texture or subject.pattern != "plain":
        colours.append(subject.second)
    if subject.marking:
        colours.append(subject.marking_colour or subject.second)
    return colours
