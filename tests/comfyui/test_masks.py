"""Masks on Subject Photos: those of the sockets, and those that lie in the folder."""

from __future__ import annotations

import pytest
import torch
from graphs import node
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


@pytest.mark.parametrize(
    "chosen, marked", [({}, [True, False]), ({"masks": "alpha"}, [True, True]), ({"masks": "off"}, [False, False])]
)
def test_the_masks_of_a_folder_are_those_that_are_asked_for(comfy, chosen, marked):
    folder = comfy.base / "input" / "masked"
    folder.mkdir(exist_ok=True)
    half = Image.new("L", (80, 60))
    half.paste(255, (0, 0, 40, 60))
    Image.new("RGB", (80, 60), "red").save(folder / "a.png")
    half.save(folder / "a-mask.png")
    cut_out = Image.new("RGB", (80, 60), "green")
    cut_out.putalpha(half)
    cut_out.save(folder / "b.png")
    outcome = comfy.run({"photos": node("SubjectPhotos", folder="masked", class_name="ball", **chosen)})
    assert outcome.ok, outcome.error or outcome.refused
    assert [photo.mask is not None for photo in outcome.outputs["photos"][0][0].photos] == marked


def test_the_choice_of_masks_is_the_last_input(pack):
    """Saved workflows hold their values by place."""
    schema = pack("nodes.subject_photos").SubjectPhotos.define_schema()
    assert [entry.id for entry in schema.inputs][-3:] == ["captions", "keep_aspect", "masks"]
