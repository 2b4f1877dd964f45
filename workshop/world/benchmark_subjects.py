"""The subjects of every table. They are never seen in training.

`IN_RANGE` subjects are combinations that a caption could name but that training leaves out: an embedding alone can
express them. `OUT_OF_RANGE` subjects have what no caption names: the layers must learn them.
"""

from __future__ import annotations

from .held_out import held_out_subject
from .scenes import Subject

IN_RANGE = {
    "purple_mug": held_out_subject("mug", "purple", "checkered", (0.4, 0.6, 0.5, 0.5)),
    "purple_bear": held_out_subject("bear", "purple", "dotted", (0.3, 0.5, 0.6, 0.4)),
    "red_backpack": held_out_subject("backpack", "red", "dotted", (0.5, 0.5, 0.3, 0.6)),
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
