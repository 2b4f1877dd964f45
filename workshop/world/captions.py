"""The sentences that describe a scene."""

from __future__ import annotations

import random

from .scenes import Scene, Subject
from .vocabulary import PLACES

# Textual Inversion's neutral templates (Gal et al. 2022, appendix), shortened to those without a second object.
TEMPLATES = (
    "a photo of {}",
    "a rendition of {}",
    "a cropped photo of {}",
    "the photo of {}",
    "a photo of a clean {}",
    "a close-up photo of {}",
    "a bright photo of {}",
    "a good photo of {}",
    "a photo of one {}",
    "a photo of a nice {}",
    "an illustration of {}",
    "a picture of {}",
)
# Templates that have an article of their own: "a photo of a clean {}".
WITH_ARTICLE = ("a photo of a clean {}", "a photo of one {}", "a photo of a nice {}")


NAMED_BY_CLASS = 0.06  # share of captions that leave the adjectives out
NAMED_BY_CLASS_IN_PAIRS = 0.15  # of each subject
POSITIONS = 0.7  # share of a pair's captions that say who stands left


def describe_scene(scene: Scene, *words: str) -> str:
    """The full sentence of a scene, e.g. "a red dotted dog wearing a blue hat on the beach".

    Of two subjects: "a red mug to the left of a blue cat on the beach". `words` replace the adjectives of the subjects
    in their order, e.g. with identifiers; "" leaves them out.
    """
    nouns = []
    for number, subject in enumerate(scene.subjects):
        adjectives = subject.words
        if number < len(words):
            adjectives = words[number]
        nouns.append(with_article(described(subject, adjectives)) + wearing(subject))
    sentence = nouns[0]
    if len(nouns) == 2:
        sentence = f"{nouns[0]} {position(scene)} {nouns[1]}"
    return f"{sentence} {PLACES[scene.place]}"


def with_article(noun: str) -> str:
    """ "orange mug" -> "an orange mug"."""
    if noun[0] in "aeiou":
        return f"an {noun}"
    return f"a {noun}"


def described(subject: Subject, words: str) -> str:
    """The class with adjectives, if any: "red mug"."""
    return f"{words} {subject.kind}".strip()


def wearing(subject: Subject) -> str:
    """What follows the noun: " wearing a blue hat", or nothing."""
    if not subject.accessory_words:
        return ""
    return f" wearing {subject.accessory_words}"


def position(scene: Scene) -> str:
    """Where the first of two subjects stands, seen from the second."""
    first, second = scene.placed
    if first.x < second.x:
        return "to the left of"
    return "to the right of"


def random_caption(rng: random.Random, scene: Scene) -> str:
    """One of the many ways to describe a scene in the training set: parts are left out, templates vary."""
    if len(scene.placed) == 2:
        return _random_caption_of_two(rng, scene)
    subject = scene.subject
    noun = described(subject, subject.words)
    if rng.random() < NAMED_BY_CLASS:
        noun = subject.kind
    sentence = _in_template(rng, noun)
    if subject.accessory_words and rng.random() < 0.95:
        sentence += wearing(subject)
    return sentence + _perhaps_the_place(rng, scene)


def _random_caption_of_two(rng: random.Random, scene: Scene) -> str:
    nouns = []
    for subject in scene.subjects:
        words = subject.words
        if rng.random() < NAMED_BY_CLASS_IN_PAIRS:
            words = ""
        nouns.append(described(subject, words))
    first, second = scene.subjects
    relation = rng.choice(("next to", "and"))
    if rng.random() < POSITIONS:
        relation = position(scene)
    sentence = f"{_in_template(rng, nouns[0])}{wearing(first)} {relation} {with_article(nouns[1])}{wearing(second)}"
    return sentence + _perhaps_the_place(rng, scene)


def _in_template(rng: random.Random, noun: str) -> str:
    """The noun in one of the templates or in none, mostly with its article."""
    template = "{}"
    if rng.random() >= 0.5:
        template = rng.choice(TEMPLATES)
    if template not in WITH_ARTICLE and rng.random() >= 0.25:
        noun = with_article(noun)
    return template.format(noun)


def _perhaps_the_place(rng: random.Random, scene: Scene) -> str:
    if rng.random() < 0.92:
        return f" {PLACES[scene.place]}"
    return ""
