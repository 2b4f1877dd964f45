"""Subjects for choosing a recipe, never among those that a table reports. Training does not see them either.

Drawn by lot as the benchmark's are, one of every class.
"""

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
    "teal_backpack": held_out_subject("backpack", "teal", "striped", (0.53, 0.46, 0.6, 0.74)),
    "purple_candle": held_out_subject("candle", "purple", "striped", (0.7, 0.71, 0.97, 0.34)),
    "plum_dog": Subject(
        "dog",
        (148, 72, 138),
        (101, 190, 162),
        build=(0.34, 0.76, 0.73, 0.19),
        stretch=(0.96, 1.02),
        texture="splashes",
        texture_seed=35419,
    ),
    "ice_rabbit": Subject(
        "rabbit",
        (194, 226, 245),
        (157, 34, 26),
        build=(0.74, 0.09, 0.97, 0.18),
        stretch=(0.91, 0.96),
        marking="star",
        marking_colour=(173, 188, 105),
        marking_shape=(0.63, 0.48),
    ),
    "apricot_mug": Subject(
        "mug",
        (247, 171, 108),
        (171, 149, 0),
        build=(0.59, 0.86, 0.54, 0.49),
        stretch=(0.96, 1.0),
        texture="zigzag",
        marking="patch",
        marking_colour=(16, 7, 131),
        marking_shape=(0.44, 0.4),
    ),
    "magenta_cat": Subject(
        "cat",
        (218, 47, 184),
        (169, 172, 70),
        build=(0.03, 0.71, 0.62, 0.57),
        stretch=(0.93, 0.91),
        texture="freckles",
        texture_seed=57275,
    ),
    "emerald_teapot": Subject(
        "teapot",
        (22, 155, 108),
        (119, 243, 15),
        build=(0.95, 0.45, 0.89, 0.82),
        stretch=(0.93, 0.94),
        marking="bolt",
        marking_colour=(212, 222, 137),
        marking_shape=(0.59, 0.67),
    ),
    "lemon_car": Subject(
        "car",
        (243, 246, 114),
        (85, 13, 83),
        build=(0.5, 0.91, 0.46, 0.38),
        stretch=(0.9, 0.92),
        texture="slanted",
        marking="moon",
        marking_colour=(182, 161, 181),
        marking_shape=(0.52, 0.61),
    ),
}
