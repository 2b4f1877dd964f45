"""Masks on Subject Photos: those of the sockets, and those that lie in the folder."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

HALF = torch.cat([torch.ones(60, 40), torch.zeros(60, 40)], 1)[None]  # the left one


def test_masks_go_with_the_photos_of_their_number(comfy, pack):
    connected = pack("nodes.connected")
    batch = torch.rand(2, 60, 80, 3)
    images = {1: [batch], 3: [batch[:1], batch[1]]}
    photos, lines = connected.connected_photos(images, {3: [HALF, 1 - HALF]})
    assert [photo.name for photo in photos] == ["photo 1", "photo 2", "photo 3", "photo 4"]
    corners = [photo.mask and photo.mask.getpixel((0, 0)) for photo in photos]
    assert corners == [None, None, 255, 0]
    assert lines[0] == "photo 1: 80x60" and lines[-1] == "photo 4: its mask marks 50% of it as the subject"
    with pytest.raises(ValueError, match="mask_2 is connected, and photo_2 is not: connect the photo"):
        connected.check_masks_have_photos(images, {2: [HALF]})
