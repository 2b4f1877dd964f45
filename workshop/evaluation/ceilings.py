"""The judges themselves: how right they are about drawings, and about drawings that the image tokenizer decoded.

No sample of the model can be expected to do better than that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from ..making.facts import scene_attributes, side_attributes
from ..making.siblings import any_subject
from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.random_subjects import free_subject, with_marking
from ..world.scenes import Scene, Subject
from ..world.vocabulary import PLACES
from .accuracies import judged_accuracies, pair_accuracies, share
from .galleries import REFERENCES, is_nearest_to_first, reference_vectors
from .intervals import Numbers, wilson_interval
from .pictures import SIZE, distractors, held_out_scenes, paired_scenes, reconstructed_pictures
from .setup import Setup

DRAWINGS = "drawings"
RECONSTRUCTIONS = "reconstructions"
VERSIONS = (DRAWINGS, RECONSTRUCTIONS)

Rows = dict[str, dict[str, Numbers]]  # by version


def judge_ceilings(setup: Setup) -> dict[str, Any]:
    """The judges' own accuracies, by what they are asked about and by version of the pictures."""
    return {
        "single": _about_single_subjects(setup),
        "pairs": _about_pairs(setup),
        "markings": _about_markings(setup),
        "retrieval": _retrieval(setup),
    }


def _about_single_subjects(setup: Setup) -> Rows:
    scenes = held_out_scenes(setup.effort.images, "judged scenes")
    truth = [scene_attributes(scene) for scene in scenes]
    return _by_version(
        setup, scenes, lambda pictures: judged_accuracies(truth, setup.judges.attributes.answers(pictures))
    )


def _about_pairs(setup: Setup) -> Rows:
    scenes = []
    for held_out in (False, True):
        scenes += paired_scenes(setup.effort.pairs, "judged pairs", held_out)
    truth = [side_attributes(scene) for scene in scenes]
    return _by_version(setup, scenes, lambda pictures: pair_accuracies(truth, setup.judges.pairs.answers(pictures)))


def _about_markings(setup: Setup) -> Rows:
    """Half of the free subjects have a marking: is it seen? The others have none: is none seen?"""
    rng = random.Random("judged markings")
    scenes = []
    for number in range(setup.effort.images):
        subject = replace(free_subject(rng), marking="")
        if number % 2 == 0:
            subject = with_marking(rng, subject)
        scenes.append(random_scene(rng, subject))

    def judged(pictures: list[Image.Image]) -> dict[str, Numbers]:
        marked = []
        unmarked = []
        for scene, said in zip(scenes, setup.judges.attributes.answers(pictures), strict=True):
            right = said["marking"] == scene.subject.marking
            if scene.subject.marking:
                marked.append(right)
            else:
                unmarked.append(right)
        return {"its marking, where there is one": share(marked), "none, where there is none": share(unmarked)}

    return _by_version(setup, scenes, judged)


def _by_version(
    setup: Setup, scenes: Sequence[Scene], judged: Callable[[list[Image.Image]], dict[str, Numbers]]
) -> Rows:
    drawings = [draw_scene(scene, SIZE) for scene in scenes]
    return {DRAWINGS: judged(drawings), RECONSTRUCTIONS: judged(reconstructed_pictures(setup.model, drawings))}


def _retrieval(setup: Setup) -> Rows:
    """How often the identity judge finds a subject among others of its class, by version."""
    rng = random.Random("judged identities")
    hits = dict.fromkeys(VERSIONS, 0)
    for _ in range(setup.effort.galleries):
        for version, found in _retrieved(setup, rng, any_subject(rng)).items():
            hits[version] += found
    return {version: {"retrieved": wilson_interval(count, setup.effort.galleries)} for version, count in hits.items()}


def _retrieved(setup: Setup, rng: random.Random, subject: Subject) -> dict[str, bool]:
    places = rng.sample(list(PLACES), REFERENCES + 1)
    drawing = draw_scene(random_scene(rng, subject, places[-1]), SIZE)
    judge = setup.judges.identity
    gallery = reference_vectors(judge, rng, [subject, *distractors(rng, subject)], places[:-1])
    reconstruction = reconstructed_pictures(setup.model, [drawing])[0]
    return {
        DRAWINGS: is_nearest_to_first(judge, drawing, gallery),
        RECONSTRUCTIONS: is_nearest_to_first(judge, reconstruction, gallery),
    }
