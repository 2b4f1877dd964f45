"""The evaluation of one model: five parts, each with numbers that are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..world.drawing import draw_scene
from ..world.subjects import SUBJECTS, drawn_photos
from .base_samples import held_out_samples, pair_samples
from .ceilings import judge_ceilings
from .effort import PHOTOS
from .intervals import Numbers, mean_interval
from .kept_numbers import kept_numbers, question_digest
from .personalization import personalization
from .personalized_pictures import unseen_subject
from .pictures import SIZE, held_out_scenes, reconstruction_psnr
from .setup import Setup

Table = dict[str, dict[str, Any]]  # by part


def reconstruction(setup: Setup) -> dict[str, Numbers]:
    """Decibels of held-out scenes and of the unseen subjects' photos after encoding and decoding."""
    scenes = [draw_scene(scene, SIZE) for scene in held_out_scenes(setup.effort.images, "reconstructed scenes")]
    unseen = [image for name in SUBJECTS for image, _ in drawn_photos(name, PHOTOS, SIZE)]
    return {
        "held-out scenes": mean_interval(reconstruction_psnr(setup.model, scenes)),
        "unseen subjects": mean_interval(reconstruction_psnr(setup.model, unseen)),
    }


PARTS: dict[str, Callable[[Setup], dict[str, Any]]] = {
    "judges": judge_ceilings,
    "reconstruction": reconstruction,
    "samples": held_out_samples,
    "pairs": pair_samples,
    "personalization": personalization,
}
ASKS = {  # what of an effort decides each part's numbers
    "judges": ("images", "pairs", "galleries"),
    "reconstruction": ("images",),
    "samples": ("images", "guidances"),
    "pairs": ("pairs", "guidances"),
    "personalization": ("subjects", "spread", "seeds", "places", "training"),
}


def evaluate(setup: Setup) -> Table:
    """The numbers of every part, by its name; personalization only where there are subjects."""
    parts = list(PARTS)
    if not setup.effort.subjects:
        parts.remove("personalization")
    return {name: measure_part(setup, name) for name in parts}


def measure_part(setup: Setup, name: str) -> dict[str, Any]:
    """The numbers kept from before where they answer the same question, else new ones."""
    setup.folder.mkdir(parents=True, exist_ok=True)
    setup.sheets.mkdir(parents=True, exist_ok=True)
    found = kept_numbers(setup.folder / f"{name}.json", asked_of_part(setup, name), lambda: PARTS[name](setup))
    setup.log(f"{name}: {json.dumps(found)}")
    return found


def asked_of_part(setup: Setup, name: str) -> dict[str, Any]:
    """Everything but the model that decides a part's numbers."""
    asked = {key: value for key, value in asdict(setup.effort).items() if key in ASKS[name]}
    if name != "reconstruction":
        asked["judges"] = setup.judges.digest
    if name == "personalization":
        asked["scorers"] = setup.scorers.names
        asked["drawn"] = question_digest([asdict(unseen_subject(key, 0).subject) for key in setup.effort.subjects])
    return asked
