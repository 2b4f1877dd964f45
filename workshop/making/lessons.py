"""Numbered lessons for judges and scorers: pictures with the softness of decoded ones, and what is true of them."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor

from ..world.drawing import draw_scene
from ..world.pairs import pair_scene, told_apart
from ..world.random_scenes import random_scene
from ..world.random_subjects import free_subject, random_subject, with_marking
from ..world.scenes import Scene, Subject
from ..world.vocabulary import CLASSES, PLACES
from .facts import ATTRIBUTES, SIDE_ATTRIBUTES, SIDES, scene_attributes, side_attributes
from .siblings import any_subject, sibling
from .softness import FINE_SIDE, SIDE, blurred_like_decoded, pictures_as_input

BATCH = 64
KINDS_AT_ONCE = 4  # classes in one batch of identities: most of the others are then of one's own class, as when judging
SIBLINGS = 0.3  # share of a batch's subjects that differ from another one in their marking or their skin alone
UNNAMED = 0.4  # share of free subjects in a lesson on attributes
MARKED = 0.5  # share of its captioned subjects that have a marking, of which their captions say nothing
ALONE = 0.2  # share of scenes with one subject in a lesson on pairs: whoever fills both halves stands at neither side
UNKNOWN = -100  # the label of what has no right answer, which cross-entropy leaves out


def label(values: tuple[str, ...], value: str | None) -> int:
    """The number of an attribute's value; UNKNOWN where it is none of them."""
    if value in values:
        return values.index(value)
    return UNKNOWN


def attribute_lesson(step: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of one subject and the number of each attribute's value (B, attributes).

    Captioned subjects have all of them. Free ones have no colour that one word says, so that label is UNKNOWN, as is
    the pattern where there is a texture.
    """
    pictures = []
    labels = []
    for number in range(step * BATCH, (step + 1) * BATCH):
        rng = random.Random(f"attributes {seed} {number}")
        scene = random_scene(rng, _judged_subject(rng))
        pictures.append(blurred_like_decoded(rng, draw_scene(scene, FINE_SIDE)))
        known = scene_attributes(scene)
        if not scene.subject.words:
            del known["colour"]
        labels.append([label(values, known.get(name)) for name, values in ATTRIBUTES.items()])
    return pictures_as_input(pictures, FINE_SIDE), torch.tensor(labels)


def _judged_subject(rng: random.Random) -> Subject:
    if rng.random() < UNNAMED:
        return free_subject(rng)
    subject = random_subject(rng, held_out=None)
    if rng.random() < MARKED:
        return with_marking(rng, subject)
    return subject


def identity_lesson(step: int, seed: int) -> tuple[Tensor]:
    """Pictures 2i and 2i + 1 show one subject of any colours, skin and marking, at two places."""
    rng = random.Random(f"identities {seed} {step}")
    pictures = []
    for subject in _subjects_to_tell_apart(rng):
        for place in rng.sample(list(PLACES), 2):
            shown = subject
            if rng.random() >= 0.9:  # who is recognised by the hat alone must be recognised without it
                shown = replace(subject, accessory="")
            pictures.append(blurred_like_decoded(rng, draw_scene(random_scene(rng, shown, place), SIDE)))
    return (pictures_as_input(pictures),)


def _subjects_to_tell_apart(rng: random.Random) -> list[Subject]:
    """Half a batch of them: few classes, and some that differ in one thing alone."""
    kinds = rng.sample(CLASSES, KINDS_AT_ONCE)
    found: list[Subject] = []
    for number in range(BATCH // 2):
        if number >= KINDS_AT_ONCE and rng.random() < SIBLINGS:
            found.append(sibling(rng, found[number - KINDS_AT_ONCE]))
        else:
            found.append(any_subject(rng, kinds[number % KINDS_AT_ONCE]))
    return found


def pair_lesson(step: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of two captioned subjects and what stands left and right: labels (B, 2, side's attributes).

    Some pictures show one subject, in the middle. Then nobody stands at either side, and the rest is UNKNOWN.
    """
    pictures = []
    labels = []
    for number in range(step * BATCH, (step + 1) * BATCH):
        rng = random.Random(f"pairs {seed} {number}")
        scene = _scene_of_sides(rng)
        pictures.append(blurred_like_decoded(rng, draw_scene(scene, FINE_SIDE)))
        known = side_attributes(scene)
        labels.append(
            [[label(values, known[side].get(name)) for name, values in SIDE_ATTRIBUTES.items()] for side in SIDES]
        )
    return pictures_as_input(pictures, FINE_SIDE), torch.tensor(labels)


def _scene_of_sides(rng: random.Random) -> Scene:
    if rng.random() < ALONE:
        return random_scene(rng, held_out=None)
    return pair_scene(rng, captioned_pair(rng))


def captioned_pair(rng: random.Random, held_out: bool | None = None) -> tuple[Subject, Subject]:
    """Two subjects that a caption can name and tell apart; `held_out` as for `random_subject`."""
    while True:
        one = random_subject(rng, held_out=held_out)
        other = random_subject(rng, held_out=held_out)
        if told_apart(one, other):
            return one, other
