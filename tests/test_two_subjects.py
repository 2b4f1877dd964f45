"""How two learned subjects in one picture are measured: the halves, whose they are, and the ways of keeping apart."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from toy import SIZE
from toy_concepts import BOTH, model_of_two

from workshop.evaluation.halves import Gallery, halves_of, measured_halves
from workshop.evaluation.two_subjects import ApartInAllLayers, OtherwiseApart, Together, pairs_of, rates_of

RED = (255, 0, 0)
GREEN = (0, 255, 0)
OLIVE = (200, 180, 0)


class ByColour:
    """An encoder whose vector is a picture's mean colour."""

    def embed_by_vit(self, pictures: list[Image.Image]) -> torch.Tensor:
        colours = [torch.tensor(picture.resize((1, 1)).getpixel((0, 0))).float() for picture in pictures]
        return torch.nn.functional.normalize(torch.stack(colours), dim=-1)


def picture(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    """Two figures where the world puts pairs."""
    image = Image.new("RGB", (96, 96))
    image.paste(left, (4, 40, 44, 80))
    image.paste(right, (52, 40, 92, 80))
    return image


def gallery(colour: tuple[int, int, int], *others: tuple[int, int, int]) -> Gallery:
    def of(colour: tuple[int, int, int]) -> torch.Tensor:
        return ByColour().embed_by_vit([Image.new("RGB", (8, 8), colour)])

    return Gallery(of(colour), [of(other) for other in others])


def test_a_half_shows_one_of_the_two():
    left, right = halves_of(picture(RED, GREEN))
    assert left.size == right.size and left.width == left.height
    assert left.getpixel((20, 30)) == RED and right.getpixel((30, 30)) == GREEN


def test_who_stands_in_a_half_is_told_by_photos_and_by_others_of_the_class():
    red, green = gallery(RED, OLIVE), gallery(GREEN, OLIVE)
    halves = [halves_of(shown)[0] for shown in (picture(RED, GREEN), picture(GREEN, RED), picture(OLIVE, GREEN))]
    right, exchanged, another = measured_halves(ByColour(), halves, red, green)
    assert right.retrieved and right.identified and right.own > 0.8
    assert not exchanged.retrieved and not exchanged.identified
    assert another.retrieved and not another.identified  # redder than green, but another one of its class


def test_halves_follow_the_prompt_and_are_counted():
    [pair] = pairs_of(["teal_duck", "purple_candle"], ["beach", "snow"])
    assert pair.prompts[:2] == [
        "a [V] duck to the left of a [W] candle on the beach",
        "a [V] duck to the right of a [W] candle on the beach",
    ]
    drawn = [picture(RED, GREEN), picture(GREEN, RED), picture(RED, RED), picture(GREEN, RED)]
    firsts, seconds = pair.halves(drawn)
    red, green = gallery(RED, OLIVE), gallery(GREEN, OLIVE)
    by_first = measured_halves(ByColour(), firsts, red, green)
    by_second = measured_halves(ByColour(), seconds, green, red)
    rates = rates_of(list(zip(by_first, by_second, strict=True)))
    assert rates["both in their halves"] == 0.75 and rates["in its half"] == 0.875


@pytest.mark.parametrize("kind", [Together, ApartInAllLayers])
def test_another_way_of_keeping_apart_changes_nothing_else(kind):
    model = model_of_two((1, 1), 0)
    otherwise = OtherwiseApart.like(model, kind)
    ids = torch.tensor([model.protocol.prompt(BOTH, SIZE, model.identifiers)])
    assert torch.equal(otherwise.concepts.vectors, model.concepts.vectors)
    apart = otherwise.concepts.identity_mask(ids)
    if kind is Together:
        assert apart is None
    else:
        assert (
            torch.equal(apart(5), model.concepts.identity_mask(ids)(0)) and model.concepts.identity_mask(ids)(1) is None
        )
