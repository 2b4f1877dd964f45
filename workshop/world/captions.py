"""The sentences that describe a scene."""

from __future__ import annotations

import random

from .scenes import Scene
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


def describe_scene(scene: Scene, words: str | None = None) -> str:
    """The full sentence of a scene, e.g. "a red dotted dog wearing a blue hat on the beach".

    `words` replaces the adjectives, e.g. with an identifier.
    """
    subject = scene.subject
    if words is None:
        words = subject.words
    noun = with_article(f"{words} {subject.kind}".strip())
    if subject.accessory_words:
        noun += f" wearing {subject.accessory_words}"
    return f"{noun} {PLACES[scene.place]}"


def with_article(noun: str) -> str:
    """ "orange mug" -> "an orange mug"."""
    if noun[0] in "aeiou":
        return f"an {noun}"
    return f"a {noun}"


def random_caption(rng: random.Random, scene: Scene) -> str:
    """One of the many ways to describe a scene in the training set: parts are left out, templates vary."""
    subject = scene.subject
    noun = f"{subject.words} {subject.kind}"
    if rng.random() < 0.06:
        noun = subject.kind
    template = "{}"
    if rng.random() >= 0.5:
        template = rng.choice(TEMPLATES)
    if template not in WITH_ARTICLE and rng.random() >= 0.25:
        noun = with_article(noun)
    sentence = template.format(noun)
    if subject.accessory_words and rng.random() < 0.95:
        sentence += f" wearing {subject.accessory_words}"
    if rng.random() < 0.92:
        sentence += f" {PLACES[scene.place]}"
    return sentence
