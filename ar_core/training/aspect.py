"""The shape of the pictures that a subject is learned from, where its photos are to keep theirs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ..families.family import Family
from ..families.protocol import Size, nearest_size, size_frontier
from ..photos import Photo


def median_shape(photos: Sequence[Photo], side: float) -> Size:
    """Width and height in the median proportions of the photos, with the area of a square of `side`."""
    root = math.exp(statistics.median(math.log(photo.size[0] / photo.size[1]) for photo in photos) / 2)
    return round(side * root), round(side / root)


def size_of_photos(family: Family, photos: Sequence[Photo]) -> Size:
    """The size nearest to the photos' median aspect, with the area that the recipe trains on.

    All pictures of a subject are of one size: a batch is. Raises ValueError for a family that draws one size alone.
    """
    if len(family.sizes) == 1:
        width, height = family.sizes[0]
        raise ValueError(
            f"{family.title} draws pictures of {width}x{height} alone, so photos cannot keep their shape. Leave "
            "--keep-aspect (keep_aspect of Subject Photos) off."
        )
    learned = family.recipe.learned_size
    sizes = family.sizes
    if learned not in sizes:  # the recipe trains on smaller pictures than the family lists: shapes of that area
        sizes = size_frontier(round(math.sqrt(learned[0] * learned[1])))
    return nearest_size(sizes, *median_shape(photos, math.sqrt(learned[0] * learned[1])))
