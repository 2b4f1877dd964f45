"""Subjects that the miniature never saw in training, and their "photos".

`IN_RANGE` subjects are combinations that a caption could name but that training leaves out: an embedding alone can
express them. `OUT_OF_RANGE` subjects have colours and markings that no caption names: the layers must learn them.
"""

from __future__ import annotations

import random

from PIL import Image

from .drawing import draw_scene
from .scenes import Scene, Subject, contrasting_colour, is_held_out, random_scene
from .vocabulary import COLOURS, PLACES


def _in_range(kind: str, colour: str, pattern: str, build: tuple[float, float, float, float]) -> Subject:
    if not is_held_out(kind, colour, pattern):
        raise ValueError(f"{colour} {pattern} {kind} occurs in training")
    return Subject(kind, COLOURS[colour], contrasting_colour(COLOURS[colour]), pattern, build=build)


IN_RANGE = {
    "purple_mug": _in_range("mug", "purple", "checkered", (0.4, 0.6, 0.5, 0.5)),
    "purple_bear": _in_range("bear", "purple", "dotted", (0.3, 0.5, 0.6, 0.4)),
    "red_backpack": _in_range("backpack", "red", "dotted", (0.5, 0.5, 0.3, 0.6)),
}
OUT_OF_RANGE = {
    "cream_cat": Subject(
        "cat",
        (250, 226, 178),
        (176, 106, 66),
        "plain",
        marking="patch",
        accessory="scarf",
        accessory_colour=(22, 160, 160),
        build=(0.9, 0.3, 0.7, 0.5),
    ),
    "mint_robot": Subject(
        "robot", (150, 230, 196), (226, 62, 92), "plain", marking="heart", build=(0.8, 0.4, 0.6, 0.7)
    ),
    "lilac_dog": Subject("dog", (196, 160, 232), (250, 214, 90), "plain", marking="star", build=(0.9, 0.5, 0.5, 0.3)),
    "coral_rabbit": Subject(
        "rabbit",
        (250, 128, 104),
        (255, 240, 220),
        "plain",
        marking="belly",
        accessory="bow tie",
        accessory_colour=(44, 98, 208),
        build=(0.7, 0.6, 0.5, 0.5),
    ),
    "lime_teapot": Subject("teapot", (178, 226, 58), (92, 52, 140), "dotted", build=(0.6, 0.6, 0.8, 0.4)),
}
# Drawn into example_subjects/ by bench_data.py. That folder is not called "examples": ComfyUI serves a pack's workflow
# templates from the first folder of such a name, and would not find those in example_workflows/.
SUBJECTS = {**IN_RANGE, **OUT_OF_RANGE}
TUNING = {  # for choosing the recipe's steps; never among the subjects that a table reports
    "teal_duck": _in_range("duck", "teal", "checkered", (0.6, 0.4, 0.5, 0.7)),
    "pink_sneaker": _in_range("sneaker", "pink", "striped", (0.5, 0.6, 0.4, 0.5)),
    "sky_bear": Subject("bear", (120, 200, 250), (255, 120, 60), "plain", marking="heart", build=(0.6, 0.4, 0.6, 0.5)),
    "olive_robot": Subject(
        "robot",
        (150, 156, 60),
        (250, 200, 214),
        "plain",
        marking="star",
        accessory="hat",
        accessory_colour=(120, 30, 60),
        build=(0.3, 0.6, 0.5, 0.4),
    ),
}


def drawn_photos(name: str, count: int = 5, size: int = 256) -> list[tuple[Image.Image, Scene]]:
    """`count` pictures of a subject, each at another place and in another pose."""
    rng = random.Random(f"photos {name}")
    subject = {**SUBJECTS, **TUNING}[name]
    places = rng.sample(list(PLACES), count)
    scenes = [random_scene(rng, subject, place) for place in places]
    return [(draw_scene(scene, size), scene) for scene in scenes]
