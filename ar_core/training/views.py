"""The pictures that a photo is learned from: its crop, and the recipe's views of it."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from ..families.family import Recipe
from ..families.protocol import Size
from ..photos import centre_crop, photo_views

VIEW_SEED = 0  # the views belong to the photos, not to one training


def crop_and_views(image: Image.Image, number: int, size: Size, recipe: Recipe) -> Iterator[Image.Image]:
    """The centre crop of photo `number`, followed by its views, all of `size`."""
    yield centre_crop(image, size)
    yield from photo_views(
        image,
        size,
        recipe.views,
        VIEW_SEED + number,
        recipe.view_shift,
        recipe.view_scale,
        recipe.view_flip,
    )


def view_fields(recipe: Recipe) -> list[object]:
    """What decides the views of a photo."""
    return [recipe.views, recipe.view_shift, recipe.view_scale, recipe.view_flip]
