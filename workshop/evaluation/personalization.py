"""Every unseen subject at new places: is it the subject, is it marked as it is, and is it there?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from ar_core.dreambench.measures.likeness import subject_fidelity
from ar_core.dreambench.measures.prompt import prompt_fidelity
from ar_core.files import write_image
from ar_core.sheets import picture_grid

from ..world.subjects import SUBJECTS
from .effort import PHOTOS
from .galleries import REFERENCES, is_nearest_to_first, reference_vectors
from .personalized_pictures import CONDITIONS, Unseen, pictures_of_subject, unseen_subject
from .pictures import CELL, distractors
from .setup import Setup
from .summaries import Values, summarize_pictures

PicturesBySeed = dict[int, list[Image.Image]]


def personalization(setup: Setup, conditions: Sequence[str] = tuple(CONDITIONS)) -> dict[str, dict[str, Any]]:
    """By condition: what was measured per subject, per training seed and over groups of subjects."""
    found: dict[str, dict[str, dict[int, list[Values]]]] = {condition: {} for condition in conditions}
    for name in setup.effort.subjects:
        unseen = unseen_subject(name, setup.effort.places)
        pictures = {
            condition: {
                seed: pictures_of_subject(setup, unseen, condition, seed) for seed in setup.effort.seeds_of(name)
            }
            for condition in conditions
        }
        _write_sheet(setup, unseen, pictures)
        gallery = subject_gallery(setup, unseen)
        for condition, by_seed in pictures.items():
            measured = {seed: measured_pictures(setup, unseen, shown, gallery) for seed, shown in by_seed.items()}
            found[condition][name] = measured
            rates = summarize_pictures({name: measured})["subjects"][name]
            setup.log(f"{name}, {condition}: {rates}")
    return {condition: summarize_pictures(by_subject) for condition, by_subject in found.items()}


def subject_gallery(setup: Setup, unseen: Unseen) -> list[Tensor]:
    """References of the subject itself, of others of its class, and of all other unseen subjects."""
    rng = random.Random(f"gallery {unseen.name}")
    judge = setup.judges.identity
    others = distractors(rng, unseen.subject)
    others += [other for name, other in SUBJECTS.items() if name != unseen.name]
    own = judge.vectors(unseen.photos[:REFERENCES])
    return [own, *reference_vectors(judge, rng, others, unseen.seen[:REFERENCES])]


def measured_pictures(
    setup: Setup, unseen: Unseen, pictures: list[Image.Image], gallery: Sequence[Tensor]
) -> list[Values]:
    """What is right about each picture, and what the scorers give it.

    "mark" is measured of subjects with a marking alone.
    """
    scores = _scores(setup, unseen, pictures)
    answers = setup.judges.attributes.answers(pictures)
    found = []
    for place, picture, said, scored in zip(unseen.places, pictures, answers, scores, strict=True):
        identity = is_nearest_to_first(setup.judges.identity, picture, gallery)
        there = said["place"] == place
        values = {"identity": float(identity), "place": float(there), "both": float(identity and there)}
        if unseen.subject.marking:
            values["mark"] = float(said["marking"] == unseen.subject.marking)
        found.append({**values, **scored})
    return found


def _scores(setup: Setup, unseen: Unseen, pictures: list[Image.Image]) -> list[Values]:
    """DreamBench's measures by the miniature's scorers: likeness to the photos, and to the prompt."""
    by_vit, by_clip = setup.scorers.embed_images([*pictures, *unseen.photos])
    likeness = subject_fidelity(by_vit[: len(pictures)], by_vit[len(pictures) :]).tolist()
    following = prompt_fidelity(by_clip[: len(pictures)], setup.scorers.embed_texts(unseen.prompts)).tolist()
    return [{"mini-ID": one, "mini-CLIP-T": other} for one, other in zip(likeness, following, strict=True)]


def _write_sheet(setup: Setup, unseen: Unseen, pictures: dict[str, PicturesBySeed]) -> None:
    rows = []
    labels = []
    for condition, by_seed in pictures.items():
        for number, (seed, row) in enumerate(by_seed.items()):
            rows.append([unseen.photos[number % PHOTOS], *row])
            labels.append(f"{condition}: {CONDITIONS.get(condition, condition)}; training seed {seed}")
    sheet = picture_grid(rows, cell=CELL, columns=["photo", *unseen.places], labels=labels, title=unseen.name)
    write_image(setup.sheets / f"{unseen.name}.png", sheet)
