"""The subjects that evaluations personalize, and their "photos"."""

from __future__ import annotations

import random

from PIL import Image

from .benchmark_subjects import IN_RANGE, OUT_OF_RANGE
from .drawing import draw_scene
from .random_scenes import random_scene
from .scenes import Scene
from .tuning_subjects import TUNING
from .vocabulary import PLACES

# Drawn into example_subjects/ by bench_data.py. That folder is not called "examples": ComfyUI serves a pack's workflow
# templates from the first folder of such a name, and would not find those in example_workflows/.
SUBJECTS = {**IN_RANGE, **OUT_OF_RANGE}


def drawn_photos(name: str, count: int = 5, size: int = 256) -> list[tuple[Image.Image, Scene]]:
    """`count` pictures of a subject, each at another place and in another pose."""
    rng = random.Random(f"photos {name}")
    subject = {**SUBJECTS, **TUNING}[name]
    places = rng.sample(list(PLACES), count)
    scenes = [random_scene(rng, subject, place) for place in places]
    return [(draw_scene(scene, size), scene) for scene in scenes]
