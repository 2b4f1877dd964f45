"""The subjects of every table. They are never seen in training.

`IN_RANGE` subjects are combinations that a caption could name but that training leaves out: an embedding alone can
express them. `OUT_OF_RANGE` subjects have colours, markings, textures and proportions that no caption names: the layers
must learn them.

The first edition's eight are among them. The others were drawn by lot, so that nobody chose those that turn out well,
and drawn again only where two of a class had similar colours. They stand here as values, because a change of the lots
must not change whom a table is about. Every class occurs twice.
"""

from __future__ import annotations

from .held_out import held_out_subject
from .scenes import Subject

IN_RANGE = {
    "purple_mug": held_out_subject("mug", "purple", "checkered", (0.4, 0.6, 0.5, 0.5)),
    "purple_bear": held_out_subject("bear", "purple", "dotted", (0.3, 0.5, 0.6, 0.4)),
    "red_backpack": held_out_subject("backpack", "red", "dotted", (0.5, 0.5, 0.3, 0.6)),
    "white_candle": held_out_subject("candle", "white", "checkered", (0.32, 0.84, 0.65, 0.01)),
    "orange_car": held_out_subject("car", "orange", "dotted", (0.2, 0.99, 0.19, 0.95)),
    "blue_cat": held_out_subject("cat", "blue", "dotted", (0.75, 0.31, 0.71, 0.07)),
    "green_sneaker": held_out_subject("sneaker", "green", "dotted", (0.03, 0.23, 0.83, 0.54)),
    "blue_robot": held_out_subject("robot", "blue", "checkered", (0.98, 0.43, 0.07, 0.56)),
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
    "crimson_sneaker": Subject(
        "sneaker",
        (175, 15, 64),
        (235, 177, 14),
        build=(0.75, 0.35, 0.11, 0.8),
        stretch=(0.91, 1.04),
        texture="net",
    ),
    "cocoa_rabbit": Subject(
        "rabbit",
        (95, 60, 49),
        (51, 235, 30),
        build=(0.42, 0.3, 0.73, 0.65),
        stretch=(0.92, 0.96),
        marking="belly",
        marking_colour=(170, 112, 199),
        marking_shape=(0.2, 0.51),
    ),
    "salmon_teapot": Subject(
        "teapot",
        (246, 120, 107),
        (205, 232, 138),
        build=(0.9, 0.84, 0.02, 0.11),
        stretch=(1.04, 1.01),
        texture="freckles",
        texture_seed=59760,
        marking="sash",
        marking_colour=(26, 128, 128),
        marking_shape=(0.72, 0.41),
    ),
    "rust_candle": Subject(
        "candle",
        (176, 73, 34),
        (168, 252, 119),
        build=(0.97, 0.49, 0.41, 0.88),
        stretch=(0.9, 1.05),
        texture="zigzag",
    ),
    "aqua_mug": Subject(
        "mug",
        (69, 226, 211),
        (70, 15, 50),
        build=(0.36, 0.42, 0.72, 0.43),
        stretch=(0.96, 0.97),
        marking="cross",
        marking_colour=(229, 19, 172),
        marking_shape=(0.68, 0.45),
    ),
    "gold_backpack": Subject(
        "backpack",
        (200, 158, 46),
        (117, 76, 56),
        build=(0.54, 0.4, 0.46, 0.86),
        stretch=(1.02, 0.89),
        texture="gradient",
        marking="star",
        marking_colour=(28, 15, 138),
        marking_shape=(0.99, 0.75),
    ),
    "maroon_bear": Subject(
        "bear",
        (113, 29, 43),
        (253, 136, 4),
        accessory="scarf",
        accessory_colour=(248, 216, 67),
        build=(0.96, 0.78, 0.6, 0.84),
        stretch=(1.09, 1.02),
        texture="net",
    ),
    "lavender_duck": Subject(
        "duck",
        (194, 173, 241),
        (15, 6, 57),
        build=(0.09, 0.4, 0.41, 0.65),
        stretch=(1.1, 0.94),
        marking="bolt",
        marking_colour=(206, 115, 118),
        marking_shape=(0.05, 0.29),
    ),
    "slate_car": Subject(
        "car",
        (94, 99, 127),
        (130, 182, 216),
        build=(0.6, 0.7, 0.76, 0.45),
        stretch=(1.12, 0.95),
        texture="splashes",
        texture_seed=38622,
        marking="spots",
        marking_colour=(113, 39, 4),
        marking_shape=(0.69, 0.36),
    ),
    "rose_duck": Subject(
        "duck",
        (230, 93, 135),
        (240, 247, 150),
        build=(0.6, 0.1, 0.08, 0.85),
        stretch=(1.11, 1.0),
        texture="slanted",
    ),
    "azure_dog": Subject(
        "dog",
        (65, 158, 240),
        (216, 218, 9),
        accessory="scarf",
        accessory_colour=(41, 53, 61),
        build=(0.2, 0.18, 0.2, 0.73),
        stretch=(1.01, 1.0),
        marking="cross",
        marking_colour=(136, 35, 68),
        marking_shape=(0.64, 0.32),
    ),
}
