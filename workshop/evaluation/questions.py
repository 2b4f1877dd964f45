"""Questions about a picture: sentences that differ in one thing alone, of which one is true."""

from __future__ import annotations

from ..making.facts import left_to_right
from ..world.captions import with_article
from ..world.scenes import Scene, Subject
from ..world.vocabulary import ACCESSORIES, CLASSES, COLOURS, PATTERNS, PLACES, in_colour

Questions = dict[str, tuple[list[str], int]]  # by what the sentences differ in; the number of the true one


def questions_about(scene: Scene) -> Questions:
    """All that is asked about a scene of captioned subjects."""
    if len(scene.placed) == 2:
        return questions_about_two(scene)
    return questions_about_one(scene)


def questions_about_two(scene: Scene) -> Questions:
    """Who stands left, and which of two colours is whose."""
    one, other = left_to_right(scene)
    colour = first_colour(one)
    second = first_colour(other)
    asked = {"sides": ([beside(colour, one, second, other), beside(second, other, colour, one)], 0)}
    if one.kind != other.kind and colour != second:
        asked["whose colour"] = ([beside(colour, one, second, other), beside(second, one, colour, other)], 0)
    return asked


def beside(colour: str, left: Subject, second: str, right: Subject) -> str:
    """ "a red mug to the left of a blue cat"."""
    return f"{with_article(f'{colour} {left.kind}')} to the left of {with_article(f'{second} {right.kind}')}"


def first_colour(subject: Subject) -> str:
    """The colour that a caption names first."""
    return subject.words.split(" ")[0]


def questions_about_one(scene: Scene) -> Questions:
    """By attribute: sentences that differ in it alone, and which of them is true."""
    subject = scene.subject
    kind = subject.kind
    place = PLACES[scene.place]
    colour = first_colour(subject)
    of_classes = [f"{with_article(name)} {place}" for name in CLASSES]
    of_colours = [f"{with_article(f'{name} {kind}')} {place}" for name in COLOURS]
    of_patterns = [with_article(f"{words} {kind}") for words in pattern_words(subject, colour)]
    of_places = [f"{with_article(kind)} {words}" for words in PLACES.values()]
    asked = {
        "class": (of_classes, CLASSES.index(kind)),
        "colour": (of_colours, list(COLOURS).index(colour)),
        "pattern": (of_patterns, PATTERNS.index(subject.pattern)),
        "place": (of_places, list(PLACES).index(scene.place)),
    }
    if subject.accessory:
        worn_colour = subject.accessory_words.removeprefix("a ").removesuffix(subject.accessory).strip()
        worn = [f"{with_article(kind)} wearing {in_colour(worn_colour, other)}" for other in ACCESSORIES]
        asked["accessory"] = (worn, ACCESSORIES.index(subject.accessory))
    return asked


def pattern_words(subject: Subject, colour: str) -> list[str]:
    """The adjectives for each pattern; for the subject's own those of its captions."""
    second = "black" if colour == "white" else "white"
    words = {name: f"{colour} {name}" for name in PATTERNS}
    words["plain"] = colour
    words["two-tone"] = f"{colour} and {second}"
    words[subject.pattern] = subject.words
    return list(words.values())
