"""Masks on the grid of codes: how much of each code is the subject, and what the code weighs in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..families.family import Recipe
from ..families.protocol import Size
from ..files import json_hash
from ..photos import Photo, PhotoError, pixel_hash, stack
from .views import crop_and_views


@dataclass(frozen=True, eq=False)
class CodeMasks:
    """The subject's share of each code (pictures, rows, columns) in 0..1; 1 in pictures of photos without a mask.

    `source`: hash of the masks of all photos.
    """

    shares: Tensor
    source: str

    def weights(self, background_weight: float) -> Tensor:
        """What each code weighs in the loss: outside the subject `background_weight` times as much as in it.

        The codes of every picture weigh 1 on average, however small the subject is in it: no photo counts more than
        another, and the learning rate fits as without masks. A view that has lost the subject is background alone, and
        weighs `background_weight` everywhere.
        """
        weights = background_weight + (1 - background_weight) * self.shares
        shows_subject = self.shares.amax((1, 2), keepdim=True) > 0
        return torch.where(shows_subject, weights / weights.mean((1, 2), keepdim=True), background_weight)


def masks_of_codes(photos: Sequence[Photo], size: Size, recipe: Recipe, factor: int) -> CodeMasks | None:
    """The masks of the photos' crops and views, each cut, scaled and mirrored as its picture is.

    `factor`: pixels of a code's side. None where no photo has a mask. Raises PhotoError where the crop leaves nothing
    of a subject.
    """
    if all(photo.mask is None for photo in photos):
        return None
    shares = [_shares(photo, number, size, recipe, factor) for number, photo in enumerate(photos)]
    hashes = ["" if photo.mask is None else pixel_hash([photo.mask]) for photo in photos]
    return CodeMasks(torch.cat(shares), json_hash(hashes))


def _shares(photo: Photo, number: int, size: Size, recipe: Recipe, factor: int) -> Tensor:
    """(1 + views, rows, columns) of one photo."""
    width, height = size
    if photo.mask is None:
        return torch.ones(1 + recipe.views, height // factor, width // factor, dtype=torch.float32, device="cpu")
    # In colour, so that a mask goes the very way of its photo.
    pictures = stack(list(crop_and_views(photo.mask.convert("RGB"), number, size, recipe)))
    shares = F.avg_pool2d(pictures[..., 0], factor)
    if not shares[0].any():
        raise PhotoError(
            f"The middle of {photo.name}, which is what is learned from at {width}x{height}, shows nothing of what its "
            "mask marks. Crop the photo and its mask around the subject."
        )
    return shares
