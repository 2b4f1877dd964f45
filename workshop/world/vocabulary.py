"""What the miniature's world consists of, in the words of its captions."""

from __future__ import annotations

COLOURS = {
    "red": (214, 48, 49),
    "orange": (240, 138, 36),
    "yellow": (247, 211, 60),
    "green": (66, 160, 71),
    "teal": (22, 160, 160),
    "blue": (44, 98, 208),
    "purple": (130, 66, 180),
    "pink": (245, 130, 180),
    "brown": (130, 82, 44),
    "grey": (140, 145, 150),
    "white": (245, 245, 242),
    "black": (48, 48, 54),
}
PATTERNS = ("plain", "striped", "dotted", "checkered", "two-tone")
FIGURES = ("dog", "cat", "bear", "rabbit", "duck", "robot")  # these have a face and can wear things
OBJECTS = ("mug", "teapot", "backpack", "car", "candle", "sneaker")
CLASSES = FIGURES + OBJECTS
ACCESSORIES = ("hat", "scarf", "bow tie", "glasses")
PLACES = {
    "beach": "on the beach",
    "snow": "in the snow",
    "jungle": "in the jungle",
    "city": "in the city",
    "mountains": "in the mountains",
    "desert": "in the desert",
    "kitchen": "in the kitchen",
    "garden": "in the garden",
    "water": "under water",
    "space": "in space",
    "floor": "on a wooden floor",
    "carpet": "on a pink carpet",
}


def in_colour(colour: str, accessory: str) -> str:
    """How a caption names what is worn: "a red hat", "red glasses"."""
    if accessory == "glasses":
        return f"{colour} {accessory}"
    return f"a {colour} {accessory}"
