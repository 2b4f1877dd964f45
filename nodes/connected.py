"""Photos and masks that come as tensors through sockets, by the numbers of these."""

from __future__ import annotations

from torch import Tensor

from ..ar_core.masks import add_tensor_masks
from ..ar_core.photos import Photo, PhotoError, tensor_photos

Connected = dict[int, list[Tensor]]  # by an input's number: images (B, H, W, C), or masks (B, H, W)


def check_masks_have_photos(images: Connected, masks: Connected) -> None:
    """Raise PhotoError for a mask whose input of the same number has no photo."""
    for number in masks:
        if number not in images:
            raise PhotoError(
                f"mask_{number} is connected, and photo_{number} is not: connect the photo that the mask is of. Masks "
                "in a folder are files, such as dog-mask.png beside dog.jpg."
            )


def connected_photos(images: Connected, masks: Connected) -> tuple[list[Photo], list[str]]:
    """The photos of all inputs with their masks, and lines about them. Raises PhotoError."""
    found: list[Photo] = []
    lines: list[str] = []
    for number, tensors in images.items():
        photos = tensor_photos(tensors, first=len(found) + 1)
        lines += [f"{photo.name}: {photo.size[0]}x{photo.size[1]}" for photo in photos]
        if number in masks:
            photos, about_masks = add_tensor_masks(photos, masks[number], f"mask_{number}")
            lines += about_masks
        found += photos
    return found, lines
