"""Subjects for choosing a recipe, never among those that a table reports. Training does not see them either."""

from __future__ import annotations

from .held_out import held_out_subject
from .scenes import Subject

TUNING = {
    "teal_duck": held_out_subject("duck", "teal", "checkered", (0.6, 0.4, 0.5, 0.7)),
    "pink_sneaker": held_out_subject("sneaker", "pink", "striped", (0.5, 0.6, 0.4, 0.5)),
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
