"""Which combinations of class, colour and pattern training leaves out, though a caption could name them."""

from __future__ import annotations

from .colours import contrasting_colour
from .scenes import Subject
from .vocabulary import CLASSES, COLOURS, PATTERNS


def is_held_out(kind: str, colour: str, pattern: str) -> bool:
    """Whether a combination is kept out of training: one in twelve, spread over all classes and colours."""
    cell = CLASSES.index(kind) * 5 + list(COLOURS).index(colour) * 7 + PATTERNS.index(pattern) * 4
    return cell % 12 == 0


def held_out_subject(kind: str, colour: str, pattern: str, build: tuple[float, float, float, float]) -> Subject:
    """A subject that a caption could name and that is held out; ValueError for one that occurs in training."""
    if not is_held_out(kind, colour, pattern):
        raise ValueError(f"{colour} {pattern} {kind} occurs in training")
    return Subject(kind, COLOURS[colour], contrasting_colour(COLOURS[colour]), pattern, build=build)
