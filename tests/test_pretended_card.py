"""The engine on a pretend graphics card: where tensors lie, what is read back and sent, what stays behind.

`pretend_card` computes on the CPU, so results can be held against it.
"""

from __future__ import annotations

import pytest
import torch
from pretend_card import Card, CardTensor, Mixed
from toy import FAMILY, quantized_toy, toy_lora, toy_model, toy_subject

from ar_core.model import ARModel
from ar_core.personalization import Personalization
from ar_core.sampling import SamplingSettings
from ar_core.training import TrainingSettings, personalize, prepare_subject

CUDA = "cuda:0"
PROMPTS = ["a photo of [V] dog", "a photo of [V] dog on the beach"]


def on_card(model: ARModel) -> ARModel:
    """The same model there."""
    model.base.to(CUDA)
    model.image_tokenizer.to(CUDA)
    return model


def settings(window: int = 4) -> SamplingSettings:
    return SamplingSettings.resolve(FAMILY, seed=3, window=window)


@pytest.fixture
def card():
    with Card() as pretended:
        yield pretended


def test_the_card_refuses_what_a_card_refuses(card):
    there = torch.ones(3, device=CUDA)
    assert isinstance(there, CardTensor) and there.device.type == "cuda" and card.uploads == {}
    with pytest.raises(Mixed, match="on cuda:0 and on cpu"):
        there + torch.ones(3)
    with pytest.raises(TypeError, match="can't convert"):
        there.numpy()
    assert (there + 1).sum().item() == 6 and sum(card.syncs.values()) == 1
    assert card.bytes > 0
    del there
    assert card.bytes == 0


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("quantized", [None, "int8", "4-bit"])
def test_pictures_are_those_of_the_cpu(window, quantized, card):
    def model() -> ARModel:
        if quantized is None:
            return toy_model().personalized(toy_lora(toy_model()))
        plain = quantized_toy(quantized)
        return plain.personalized(toy_lora(plain))

    expected = model().generate(PROMPTS, settings(window))
    drawn = on_card(model()).generate(PROMPTS, settings(window))
    for there, here in zip(drawn, expected, strict=True):
        assert torch.equal(there.codes, here.codes)
        assert there.images.device.type == there.codes.device.type == "cpu"
        assert torch.allclose(there.images, here.images, atol=1e-6)


@pytest.mark.parametrize("window, per_step", [(1, 0), (4, 1)])
def test_a_step_reads_back_one_tensor_at_most_and_sends_none(window, per_step, card):
    """More would make the card wait for Python, and break a recorded step."""
    model = on_card(toy_model().personalized(toy_lora(toy_model())))
    model.generate(PROMPTS, settings(window))  # merges and fetches what is kept
    card.clear()
    steps = model.generate(PROMPTS, settings(window))[0].steps
    decoding = {place: count for place, count in card.syncs.items() if "model.py" not in place}
    assert sum(decoding.values()) == per_step * steps + 2  # whether there is anything to draw, the codes at the end
    assert sum(card.uploads.values()) < 12 < steps * 3  # the prompts, and random numbers in blocks


def test_nothing_of_a_picture_stays_on_the_card(card):
    model = on_card(toy_model())
    before = card.bytes
    model.generate("a photo of a dog", settings())
    assert card.bytes == before and card.peak > before


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"method": "full"},
        {"strategy": "joint", "per_image_token": True, "gradient_checkpointing": True},
        {"prior_preservation": True},
    ],
)
def test_a_training_learns_what_it_learns_on_the_cpu(chosen, card, tmp_path, monkeypatch):
    monkeypatch.setattr(ARModel, "auto_window", lambda *_: 4)  # or class pictures would be others on a card
    chosen = TrainingSettings.resolve(FAMILY, embedding_steps=2, layer_steps=2, **chosen)
    expected = personalize(toy_model(), toy_subject(), chosen, tmp_path / "cpu", samples=1)[-1]
    model = on_card(toy_model())
    before = card.bytes
    learned = personalize(model, toy_subject(), chosen, tmp_path / "card", samples=1)[-1]
    assert learned.losses == pytest.approx(expected.losses, rel=1e-5)
    assert torch.allclose(learned.personalization.vectors, expected.personalization.vectors, atol=1e-5)
    for there, here in zip(
        learned.personalization.adapter.parameters(), expected.personalization.adapter.parameters(), strict=True
    ):
        assert not isinstance(there, CardTensor) and there.grad is None and not there.requires_grad
        assert torch.allclose(there, here, atol=1e-5)
    assert card.bytes == before  # neither gradients nor the optimizer's moments


@pytest.mark.parametrize("quantized", ["int8", "4-bit"])
def test_a_training_beside_quantised_weights_does_too(quantized, card, tmp_path):
    chosen = TrainingSettings.resolve(FAMILY, strategy="joint", layer_steps=2)
    expected = personalize(quantized_toy(quantized), toy_subject(), chosen, tmp_path / "cpu")[-1]
    learned = personalize(on_card(quantized_toy(quantized)), toy_subject(), chosen, tmp_path / "card")[-1]
    assert learned.losses == pytest.approx(expected.losses, rel=1e-4)


def test_what_was_learned_there_is_drawn_from_its_file(card, tmp_path):
    chosen = TrainingSettings.resolve(FAMILY, embedding_steps=1, layer_steps=1)
    model = on_card(toy_model())
    learned = personalize(model, toy_subject(), chosen, tmp_path / "runs")[-1].personalization
    loaded = Personalization.load(learned.save(tmp_path / "dog.safetensors"))
    first, second = (model.personalized(one).generate(PROMPTS, settings())[0] for one in (learned, loaded))
    assert torch.equal(first.codes, second.codes)


def test_photos_are_read_there(card):
    from ar_core.photos import read_photos
    from ar_core.shipped import example_subjects

    photos = read_photos(example_subjects() / "lilac_dog")[0][:2]
    here = prepare_subject(toy_model(), photos, "dog").codes
    there = prepare_subject(on_card(toy_model()), photos, "dog").codes
    assert there.device.type == "cpu" and torch.equal(here, there)


def test_the_shipped_model_loads_onto_it(card):
    from ar_core.families.miniature import MINIATURE

    model = ARModel.load("miniature", CUDA, torch.bfloat16)
    parameters = [*model.transformer.parameters(), *model.image_tokenizer.parameters()]
    assert all(isinstance(parameter.data, CardTensor) for parameter in parameters)
    drawn = model.generate("a photo of a red dog", SamplingSettings.resolve(MINIATURE, seed=1, window=64))[0]
    assert drawn.images.shape == (1, 96, 96, 3)
