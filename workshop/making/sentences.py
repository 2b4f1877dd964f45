"""What a sentence says of a scene, and whether it is true of another one.

A sentence leaves out much of what a scene shows, so it may happen to be right about others of a batch. A scorer must
not learn that these do not belong together.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations

from ..world.captions import TEMPLATES, WITH_ARTICLE, with_article
from ..world.scenes import Scene, Subject
from ..world.vocabulary import PLACES
from .facts import left_to_right, subject_attributes

Said = Mapping[
    str, str
]  # what is said of a subject, by attribute; "words": all its adjectives, "worn": with its colour
NOUNS = {"class": 0.4, "colour": 0.2, "words": 0.4}  # how much is said of a subject, and how often
NOUNS_OF_A_PAIR = {"class": 0.15, "colour": 0.45, "words": 0.4}
POSITIONS = 0.8  # share of sentences on two subjects that say who stands left
WORN = 0.7  # share of subjects with an accessory of which the sentence says it
THERE = 0.75  # share of sentences that say the place
IN_TEMPLATE = 0.3


@dataclass(frozen=True)
class Statement:
    """What is said of one subject or of two, and of the place if anything; `ordered`: they stand from left to right."""

    subjects: tuple[Said, ...]
    place: str = ""
    ordered: bool = False


@dataclass(frozen=True)
class Known:
    """All that a sentence could say of a scene: its subjects from left to right, and its place."""

    subjects: tuple[Said, ...]
    place: str


def known_of(scene: Scene) -> Known:
    """What is true of a scene."""
    return Known(tuple(known_of_subject(subject) for subject in left_to_right(scene)), scene.place)


def known_of_subject(subject: Subject) -> Said:
    """What is true of a subject."""
    further = {"words": subject.words, "worn": subject.accessory_words}
    return {**subject_attributes(subject), **further}


def is_true(statement: Statement, scene: Known) -> bool:
    """Whether the statement holds: for some choice of the scene's subjects, in their order if it says one."""
    if statement.place not in ("", scene.place):
        return False
    count = len(statement.subjects)
    choices: Iterable[tuple[Said, ...]] = permutations(scene.subjects, count)
    if statement.ordered:
        choices = combinations(scene.subjects, count)  # these keep the order
    for chosen in choices:
        if all(said.items() <= true.items() for said, true in zip(statement.subjects, chosen, strict=True)):
            return True
    return False


def partial_statement(rng: random.Random, scene: Scene) -> Statement:
    """Some of what is true of a scene. Of a free subject its colour is not said, having no word."""
    subjects = left_to_right(scene)
    shares = NOUNS
    ordered = False
    if len(subjects) == 2:
        shares = NOUNS_OF_A_PAIR
        ordered = rng.random() < POSITIONS
    said = tuple(_partly(rng, subject, shares) for subject in subjects)
    place = ""
    if rng.random() < THERE:
        place = scene.place
    return Statement(said, place, ordered)


def _partly(rng: random.Random, subject: Subject, shares: Mapping[str, float]) -> Said:
    known = known_of_subject(subject)
    said = ["class"]
    level = rng.choices(list(shares), list(shares.values()))[0]
    if subject.words and level == "colour":
        said.append("colour")
    if subject.words and level == "words":
        said += ["colour", "pattern", "words"]
    if subject.accessory_words and rng.random() < WORN:
        said += ["accessory", "worn"]
    return {name: known[name] for name in said}


def sentence_of(rng: random.Random, statement: Statement) -> str:
    """A sentence that says the statement, and no more."""
    order = list(range(len(statement.subjects)))
    rng.shuffle(order)  # whom it names first
    sentence = _in_template(rng, noun_of(statement.subjects[order[0]])) + wearing(statement.subjects[order[0]])
    if len(order) == 2:
        second = statement.subjects[order[1]]
        sentence += f" {_relation(rng, statement, order)} {with_article(noun_of(second))}{wearing(second)}"
    if statement.place:
        sentence += f" {PLACES[statement.place]}"
    return sentence


def _relation(rng: random.Random, statement: Statement, order: list[int]) -> str:
    if not statement.ordered:
        return rng.choice(("next to", "and"))
    if order == [0, 1]:
        return "to the left of"
    return "to the right of"


def noun_of(said: Said) -> str:
    """The class with the adjectives that are said."""
    adjectives = said.get("words", said.get("colour", ""))
    return f"{adjectives} {said['class']}".strip()


def wearing(said: Said) -> str:
    """What follows the noun: " wearing a red hat", or nothing."""
    if "worn" not in said:
        return ""
    return f" wearing {said['worn']}"


def _in_template(rng: random.Random, noun: str) -> str:
    if rng.random() >= IN_TEMPLATE:
        return with_article(noun)
    template = rng.choice(TEMPLATES)
    if template not in WITH_ARTICLE:
        noun = with_article(noun)
    return template.format(noun)
