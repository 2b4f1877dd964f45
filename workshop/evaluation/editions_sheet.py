"""One sheet of the same prompts for all editions: held-out combinations, pairs, personalized subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ar_core.files import write_image
from ar_core.sheets import picture_grid

from ..world.captions import describe_scene
from ..world.scenes import Scene
from .base_samples import IN_A_ROW, pictures_of_scenes, sampled_pairs, sampled_scenes
from .editions import Edition
from .personalized_pictures import pictures_of_subject, unseen_subject
from .pictures import CELL

SHOWN_SUBJECTS = 6
STRATEGY = "two_stage"

Row = tuple[list[Image.Image], str]  # pictures and what stands below


def write_editions_sheet(path: Path, editions: Sequence[Edition]) -> None:
    """Rows of the same prompts beneath each other, one for each edition."""
    rows = [*_sample_rows(editions), *_pair_rows(editions), *_subject_rows(editions)]
    pictures = [row for row, _ in rows]
    labels = [label for _, label in rows]
    title = "The same prompts: " + ", ".join(edition.name for edition in editions)
    write_image(path, picture_grid(pictures, cell=CELL, labels=labels, title=title))


def _sample_rows(editions: Sequence[Edition]) -> list[Row]:
    scenes = sampled_scenes(editions[0].setup.effort.images)
    pictures = [pictures_of_scenes(edition.setup, "held-out", scenes, edition.setup.cfg) for edition in editions]
    return _block(editions, "held-out combinations", pictures, scenes)


def _pair_rows(editions: Sequence[Edition]) -> list[Row]:
    scenes = sampled_pairs(editions[0].setup.effort.pairs, held_out=False)
    pictures = [pictures_of_scenes(edition.setup, "pairs-seen", scenes, edition.setup.cfg) for edition in editions]
    return _block(editions, "two subjects", pictures, scenes)


def _block(
    editions: Sequence[Edition], what: str, pictures: Sequence[list[Image.Image]], scenes: Sequence[Scene]
) -> list[Row]:
    """The first pictures of each edition; the sentences stand once, below the last."""
    rows = [(shown[:IN_A_ROW], f"{edition.name}, {what}") for edition, shown in zip(editions, pictures, strict=True)]
    sentences = "  |  ".join(describe_scene(scene) for scene in scenes[:IN_A_ROW])
    last, label = rows[-1]
    rows[-1] = (last, f"{label}: {sentences}")
    return rows


def _subject_rows(editions: Sequence[Edition]) -> list[Row]:
    """A photo, then what was learned from the photos at new places."""
    rows = []
    effort = editions[0].setup.effort
    for name in effort.spread[:SHOWN_SUBJECTS]:
        unseen = unseen_subject(name, effort.places)
        for edition in editions:
            pictures = pictures_of_subject(edition.setup, unseen, STRATEGY, effort.seeds[0])
            label = f"{edition.name}, {STRATEGY}, {name}: a photo, then {', '.join(unseen.places)}"
            rows.append(([unseen.photos[0], *pictures], label))
    return rows
