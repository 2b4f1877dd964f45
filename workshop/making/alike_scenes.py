"""Groups of scenes that differ in one thing each: what a sentence must be read for."""

from __future__ import annotations

import random
from dataclasses import replace

from ..world.pairs import pair_scene
from ..world.random_scenes import random_scene
from ..world.random_subjects import free_subject
from ..world.scenes import Scene, with_subject
from ..world.vocabulary import PLACES
from .lessons import captioned_pair

ALIKE = 4  # scenes in a group
PAIRS = 0.35  # share of groups that show two subjects
UNNAMED = 0.3  # share of the other groups whose first subject no words describe


def alike_scenes(rng: random.Random) -> list[Scene]:
    """ALIKE scenes, all of one subject or all of two."""
    if rng.random() < PAIRS:
        return alike_pairs(rng)
    return alike_singles(rng)


def alike_singles(rng: random.Random) -> list[Scene]:
    """Scenes of one subject that differ from the first in place, class, subject or what is worn."""
    first = random_scene(rng, held_out=None)
    if rng.random() < UNNAMED:
        first = random_scene(rng, free_subject(rng))
    found = [first]
    while len(found) < ALIKE:
        other = random_scene(rng, held_out=None)
        subject = first.subject
        changed = rng.choice(("place", "kind", "subject", "accessory"))
        if changed == "place":
            found.append(with_subject(other, subject))
        elif changed == "kind" and not subject.accessory:
            same = replace(subject, kind=other.subject.kind)
            found.append(replace(with_subject(other, same), place=first.place))
        elif changed == "subject":
            found.append(replace(other, place=first.place))
        elif changed == "accessory" and other.subject.accessory and subject.accessory:
            new = {name: getattr(other.subject, name) for name in ("accessory", "accessory_colour", "accessory_words")}
            found.append(replace(with_subject(other, replace(subject, **new)), place=first.place))
    return found


def alike_pairs(rng: random.Random) -> list[Scene]:
    """Scenes of two subjects. In the second they have changed sides; then one, both classes or the place are others."""
    first = pair_scene(rng, captioned_pair(rng))
    found = [first, with_sides_exchanged(first)]
    while len(found) < ALIKE:
        one, other = first.subjects
        changed = rng.choice(("place", "kinds", "subject"))
        if changed == "place":
            found.append(replace(first, place=rng.choice(list(PLACES)), seed=rng.getrandbits(30)))
        elif changed == "kinds" and not one.accessory and not other.accessory and one.kind != other.kind:
            exchanged = (replace(one, kind=other.kind), replace(other, kind=one.kind))
            placed = tuple(replace(p, subject=s) for p, s in zip(first.placed, exchanged, strict=True))
            found.append(replace(first, placed=placed))
        elif changed == "subject":
            found.append(with_subject(first, captioned_pair(rng)[0]))
    return found


def with_sides_exchanged(scene: Scene) -> Scene:
    """The same two subjects, each where the other stood."""
    one, other = scene.placed
    return replace(scene, placed=(replace(one, x=other.x), replace(other, x=one.x)))
