"""A graphics card on which not everything fits: what can be left out is, before layers are streamed."""

from __future__ import annotations

import pytest
import torch
from graphs import applied, graph, pictures, sampled
from in_process import Comfy

LOADED = {"model": graph()["model"], "seen": {"class_type": "PreviewAny", "inputs": {"source": ["model", 1]}}}


@pytest.fixture
def card(pack, monkeypatch):
    """Lets the pack believe in a card of so many bytes."""

    def believe(size):
        for module in ("nodes.host.memory", "nodes.loading"):
            monkeypatch.setattr(pack(module), "card_bytes", lambda: size)

    return believe


def test_the_loader_says_what_is_streamed_and_what_would_fit(comfy, pack, card):
    ar = comfy.run(LOADED).outputs["model"][0][0]
    loader, core = pack("nodes.loading"), pack("ar_core.memory")

    def about(size):
        card(size)
        return loader.about_model(ar)

    size = 2**30
    while "the model stays on it" in about(size):
        size -= 2**20
    assert (
        size < 2**30
        and "layers are streamed" in about(size)
        and "It would stay on the card in int8 or 4-bit." in about(size)
    )
    assert "layers are streamed" in about(0) and "would stay" not in about(0)
    free = core.weight_bytes(ar.model.image_tokenizer) + core.quantized_bytes(ar.model.transformer, "int8")
    card(free)
    assert (
        pack("nodes.host.memory").fitting_precisions(ar, 0) == "int8 or 4-bit"
        and pack("nodes.host.memory").fitting_precisions(ar, 1) == "4-bit"
    )


def test_previews_are_left_out_and_the_picture_is_the_same(trained, comfy, pack, card, monkeypatch):
    memory, asked = pack("nodes.host.memory"), []
    monkeypatch.setattr(pack("ar_core.model"), "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(pack("ar_core.model"), "PREVIEW_PAUSE", 0)
    resident = memory.make_resident
    monkeypatch.setattr(
        pack("nodes.sampler"), "make_resident", lambda ar, needed: (asked.append((ar, needed)), resident(ar, needed))[1]
    )
    nodes = sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat")

    def drawn():
        outcome = Comfy(comfy.base).run(nodes)
        return pictures(outcome)[0], [text for event, data in outcome.sent if event == "text" for text in data[1:]]

    expected, said = drawn()
    assert not any("No previews" in text for text in said)
    ar, needed = asked[-1]
    card(memory.held_bytes(ar) + needed - 1)
    seen, said = drawn()
    assert any("No previews" in text for text in said) and asked[-1][1] < needed
    assert torch.equal(seen, expected)
    card(0)  # layers are streamed anyway
    assert not any("No previews" in text for text in drawn()[1]) and asked[-1][1] == needed


def test_samples_of_a_training_are_left_out_and_what_is_learned_is_the_same(comfy, pack, card, monkeypatch, tmp_path):

    def learned(runs):
        monkeypatch.setattr(pack("nodes.training_view"), "runs_folder", lambda: tmp_path / runs)
        outcome = Comfy(comfy.base).run(graph())
        assert outcome.ok, outcome.error
        personalization, _, samples = (outcome.outputs["tune"][i][0] for i in range(3))
        return personalization, samples

    memory, asked = pack("nodes.host.memory"), []
    monkeypatch.setattr(pack("nodes.training_view"), "memory_needed", lambda ar, *_: (asked.append(ar), (1, 2))[1])
    expected, samples = learned("with")
    assert samples.std() > 0.1
    card(memory.held_bytes(asked[-1]) + 1)
    got, samples = learned("without")
    assert (
        samples[0, 40:80, 40:80] == samples[0, 40, 40]
    ).all() and samples.std() > 0  # a grey cell with a line of text
    assert torch.equal(got.vectors, expected.vectors)
    assert all(
        torch.equal(got.adapter.change(name), expected.adapter.change(name)) for name in expected.adapter.names()
    )
