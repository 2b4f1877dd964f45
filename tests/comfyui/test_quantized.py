"""The precisions int8 and 4-bit: what is learned stays beside the weights, resident or streamed."""

from __future__ import annotations

import pytest
import torch
from graphs import applied, graph, pictures, sampled
from in_process import Comfy

PROMPT = "a photo of [V] cat"


@pytest.fixture(scope="module", params=["int8", "4-bit", "int8-rotated"])
def scheme(request) -> str:
    if request.param == "4-bit":
        pytest.importorskip(
            "bitsandbytes", reason="4-bit needs bitsandbytes in ComfyUI's Python: pip install bitsandbytes"
        )
    if request.param == "int8-rotated":
        tensor = pytest.importorskip("comfy_kitchen.tensor", reason="comes with later versions of ComfyUI")
        if not hasattr(tensor, "TensorWiseINT8Layout"):
            pytest.skip("this comfy-kitchen has no rotated int8")
    return request.param


def small(scheme: str, **changes) -> dict:
    return graph(model__precision=scheme, **changes)


@pytest.fixture(scope="module")
def learned(base, scheme):
    outcome = Comfy(base).run(small(scheme))
    assert outcome.ok, outcome.error or outcome.refused
    return outcome


def test_the_loader_says_what_it_loaded(scheme, comfy):
    nodes = {"model": small(scheme)["model"], "seen": {"class_type": "PreviewAny", "inputs": {"source": ["model", 1]}}}
    text = comfy.run(nodes).outputs["model"][1][0]
    assert f"{scheme} and bfloat16" in text or f"{scheme} and float32" in text


def test_a_subject_draws_what_the_library_draws(scheme, learned, comfy, pack):
    outcome = comfy.run(sampled(applied(small(scheme)), ["apply", 0], prompt=PROMPT))
    seen, ar = pictures(outcome)[0], outcome.outputs["apply"][0][0]
    assert ar.model.transformer.quantized and not ar.transformer.patches  # nothing can be added to rounded weights
    core, dtype = pack("ar_core"), ar.model.transformer.image_head.weight.dtype
    with torch.inference_mode(False):
        model = core.ARModel.load(dtype=dtype, quantized=scheme)
        settings = core.SamplingSettings.resolve(model.family, seed=1)  # 0 in a widget is the recipe
        known = model.personalized(learned.outputs["tune"][0][0])
        assert (
            known.generate(PROMPT, settings)[0].images - seen
        ).abs().mean() < 0.02  # layers round differently in the last bit


def test_other_branches_keep_the_model_as_it_was(scheme, learned, comfy):
    before = pictures(comfy.run(sampled(small(scheme), ["model", 0])))[0]
    both = sampled(
        sampled(applied(small(scheme), strength=2.0), ["apply", 0], prompt=PROMPT), ["model", 0], name="plain"
    )
    outcome = comfy.run(both)
    assert torch.equal(pictures(outcome, "plain")[0], before) and not torch.equal(pictures(outcome)[0], before)


def test_a_subject_learned_in_full_precision_is_used(scheme, trained, learned, comfy):
    nodes = {**graph(), "small": small(scheme)["model"]}
    outcome = comfy.run(sampled(applied(nodes, model="small"), ["apply", 0], prompt=PROMPT))
    assert torch.isfinite(pictures(outcome)[0]).all() and outcome.outputs["draw"][1] == [PROMPT]


def test_streamed_layers_draw_and_learn_the_same(scheme, learned, comfy, streamed, monkeypatch, steps):
    nodes = sampled(applied(small(scheme, learn__training_seed=8)), ["apply", 0], prompt=PROMPT)
    seen = pictures(comfy.run(nodes))[0]
    assert steps
    streamed[-1].detach()
    monkeypatch.undo()
    assert torch.equal(pictures(Comfy(comfy.base).run(nodes))[0], seen)


def test_a_deep_concept_is_learned_and_drawn_resident_and_streamed(scheme, comfy, streamed, monkeypatch, steps):
    nodes = small(scheme, learn__depth=2, learn__image_concept="on", learn__training_seed=9)
    del nodes["tune"], nodes["seen"]
    nodes = sampled(applied(nodes, personalization="learn"), ["apply", 0], prompt=PROMPT)
    outcome = comfy.run(nodes)
    seen = pictures(outcome)[0]
    assert steps and outcome.outputs["learn"][0][0].concept.shape[:2] == (2, 2)
    streamed[-1].detach()
    monkeypatch.undo()
    assert torch.equal(pictures(Comfy(comfy.base).run(nodes))[0], seen)


def test_a_full_change_is_refused(scheme, learned, comfy):
    assert f"holds them in {scheme}" in comfy.run(small(scheme, tune__method="full q/k/v")).error
    nodes = {**graph(tune__method="full q/k/v"), "small": small(scheme)["model"]}
    assert (
        f"{scheme} weights cannot take"
        in comfy.run(sampled(applied(nodes, model="small"), ["apply", 0], prompt=PROMPT)).error
    )
