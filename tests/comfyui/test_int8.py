"""The precision int8: what is learned stays beside the weights, resident or streamed."""

from __future__ import annotations

import pytest
import torch
from conftest import Comfy
from test_graphs import applied, graph, pictures, sampled, streamed, trained  # noqa: F401

PROMPT = "a photo of [V] cat"


def int8(**changes) -> dict:
    return graph(model__precision="int8", **changes)


@pytest.fixture(scope="module")
def learned(base):
    outcome = Comfy(base).run(int8())
    assert outcome.ok, outcome.error or outcome.refused
    return outcome


def test_the_loader_says_what_it_loaded(comfy):
    nodes = {"model": int8()["model"], "seen": {"class_type": "PreviewAny", "inputs": {"source": ["model", 1]}}}
    text = comfy.run(nodes).outputs["model"][1][0]
    assert "int8 and bfloat16" in text or "int8 and float32" in text


def test_a_subject_learned_on_int8_draws_what_the_library_draws(learned, comfy, pack):
    outcome = comfy.run(sampled(applied(int8()), ["apply", 0], prompt=PROMPT))
    seen, ar = pictures(outcome)[0], outcome.outputs["apply"][0][0]
    assert ar.model.transformer.quantized and not ar.transformer.patches  # a patch would be rounded to int8
    core, dtype = pack("ar_core"), ar.model.transformer.image_head.weight.dtype
    with torch.inference_mode(False):
        model = core.LuminaModel.load(dtype=dtype, int8=True)
        settings = core.SamplingSettings.resolve(model.family, seed=1)  # 0 in a widget is the recipe
        known = model.personalized(learned.outputs["tune"][0][0])
        assert (known.generate(PROMPT, settings)[0].images - seen).abs().mean() < 0.02  # layers round differently in the last bit


def test_other_branches_keep_the_model_as_it_was(learned, comfy):
    before = pictures(comfy.run(sampled(int8(), ["model", 0])))[0]
    both = sampled(sampled(applied(int8(), strength=2.0), ["apply", 0], prompt=PROMPT), ["model", 0], name="plain")
    outcome = comfy.run(both)
    assert torch.equal(pictures(outcome, "plain")[0], before) and not torch.equal(pictures(outcome)[0], before)


def test_a_subject_learned_in_full_precision_is_used_on_int8(trained, learned, comfy):  # noqa: F811
    nodes = {**graph(), "small": int8()["model"]}
    outcome = comfy.run(sampled(applied(nodes, model="small"), ["apply", 0], prompt=PROMPT))
    assert torch.isfinite(pictures(outcome)[0]).all() and outcome.outputs["draw"][1] == [PROMPT]


def test_streamed_int8_draws_and_learns_the_same(learned, comfy, streamed, monkeypatch, steps):  # noqa: F811
    nodes = sampled(applied(int8(learn__training_seed=8)), ["apply", 0], prompt=PROMPT)
    seen = pictures(comfy.run(nodes))[0]
    assert steps
    streamed[-1].detach()
    monkeypatch.undo()
    assert torch.equal(pictures(Comfy(comfy.base).run(nodes))[0], seen)


@pytest.mark.parametrize("nodes, sentence", [
    (int8(tune__method="full q/k/v"), "holds them in int8"),
    (sampled(applied({**graph(tune__method="full q/k/v"), "small": int8()["model"]}, model="small"), ["apply", 0], prompt=PROMPT), "int8 weights cannot take"),
])  # fmt: skip
def test_a_full_change_is_refused(learned, comfy, nodes, sentence):
    assert sentence in comfy.run(nodes).error
