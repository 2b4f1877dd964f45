"""Shares of right answers about captioned scenes, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from ..making.facts import CAPTIONED, LEFT, RIGHT
from .intervals import Numbers, wilson_interval

Attributes = dict[str, str]
Sides = dict[str, Attributes]  # by side
ALL_THREE = ("class", "colour", "place")


def judged_accuracies(truth: Sequence[Attributes], seen: Sequence[Attributes]) -> dict[str, Numbers]:
    """Share of right answers by captioned attribute, and of pictures with class, colour and place all right."""
    pairs = list(zip(truth, seen, strict=True))
    found = {name: share([true[name] == said[name] for true, said in pairs]) for name in CAPTIONED}
    found[" & ".join(ALL_THREE)] = share([all(true[name] == said[name] for name in ALL_THREE) for true, said in pairs])
    return found


def pair_accuracies(truth: Sequence[Sides], seen: Sequence[Sides]) -> dict[str, Numbers]:
    """What is right about pictures of two subjects.

    "pair right": both classes and colours, each at the side that was asked for. "classes" and "classes & colours":
    wherever they stand. "sides": what is seen fits the sides as asked better than the other way round. "patterns":
    both, each at its side.
    """
    pairs = list(zip(truth, seen, strict=True))
    return {
        "pair right": share([fits(true, said, ("class", "colour")) for true, said in pairs]),
        "classes": share([fits_either_way(true, said, ("class",)) for true, said in pairs]),
        "classes & colours": share([fits_either_way(true, said, ("class", "colour")) for true, said in pairs]),
        "sides": share([sides_right(true, said) for true, said in pairs]),
        "patterns": share([fits(true, said, ("pattern",)) for true, said in pairs]),
    }


def fits(true: Sides, said: Sides, names: Sequence[str]) -> bool:
    """Whether these attributes are right at both sides."""
    return agreements(true, said, names) == 2 * len(names)


def fits_either_way(true: Sides, said: Sides, names: Sequence[str]) -> bool:
    """The same, also with the sides exchanged."""
    return fits(true, said, names) or fits(true, exchanged(said), names)


def sides_right(true: Sides, said: Sides) -> bool:
    """Whether classes and colours fit better as they stand than exchanged."""
    names = ("class", "colour")
    return agreements(true, said, names) > agreements(true, exchanged(said), names)


def agreements(true: Sides, said: Sides, names: Sequence[str]) -> int:
    """How many answers are right, over both sides."""
    return sum(true[side][name] == said[side][name] for side in (LEFT, RIGHT) for name in names)


def exchanged(sides: Sides) -> Sides:
    """Left for right."""
    return {LEFT: sides[RIGHT], RIGHT: sides[LEFT]}


def share(right: Sequence[bool]) -> Numbers:
    """The share of what is right, with its interval."""
    return wilson_interval(sum(right), len(right))
