"""Deep concepts in ComfyUI: learned, drawn, combined and saved, and what the inputs of their node mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from graphs import applied, changed, graph, node, pictures, sampled
from in_process import Comfy

PROMPT = "a photo of [V] cat"


def deep(**changes) -> dict:
    """Two steps of a deep concept of two layers, and nothing behind it."""
    nodes = graph(**{"learn__depth": 2, "learn__learning_rate": 0.5, **changes})
    del nodes["tune"]
    nodes["seen"]["inputs"]["images"] = ["learn", 2]
    return nodes


def drawn(nodes: dict, prompt: str = PROMPT, **inputs) -> dict:
    return sampled(applied(nodes, personalization="learn", **inputs), ["apply", 0], prompt=prompt)


@pytest.fixture(scope="module")
def learned(base):
    outcome = Comfy(base).run(deep())
    assert outcome.ok, outcome.error or outcome.refused
    return outcome


@pytest.fixture
def stages(pack, monkeypatch) -> list[tuple]:
    """Instead of training, notes with which settings a node would; each ends its run."""
    asked = []

    def noted(ar, subject, stage, settings, start=None, **_):
        asked.append((stage, settings))
        raise ValueError("noted")

    monkeypatch.setattr(pack("nodes.training_view"), "train_stage", noted)
    return asked


@pytest.fixture
def settings_for(pack):
    """Of stage 1 on the miniature, whose recipe may be changed."""
    node_module = pack("nodes.learn_identifier")
    family = pack("ar_core.families.miniature").MINIATURE

    def resolve(depth: int, image_concept: str, **recipe):
        changed_family = replace(family, recipe=replace(family.recipe, **recipe))
        image = node_module.IMAGE_CONCEPT[image_concept]
        return pack("ar_core.training.stage_one").stage_one_settings(
            changed_family, depth, image, steps=None, learning_rate=None, seed=0
        )

    return resolve


# ---------------------------------------------------------------- what the inputs mean


def test_a_prompt_from_before_there_was_a_depth_learns_the_embedding(stages, comfy):
    nodes = deep(learn__learning_rate=0.0)
    del nodes["learn"]["inputs"]["depth"]
    comfy.run(nodes)
    ((stage, settings),) = stages
    assert stage == "embedding" and settings.strategy == "embedding_only"


def test_the_recipe_alone_decides_what_a_fresh_node_learns(settings_for):
    assert settings_for(0, "auto").strategy == "embedding_only"
    fresh = settings_for(0, "auto", strategy="deep_two_stage")
    assert (fresh.strategy, fresh.depth, fresh.deep_steps, fresh.image_concept) == ("deep", 3, 80, False)
    assert settings_for(1, "auto", strategy="deep").strategy == "embedding_only"  # as it was saved
    assert settings_for(0, "auto", strategy="joint").strategy == "embedding_only"


def test_an_image_concept_makes_it_a_deep_concept(settings_for):
    on = settings_for(0, "on")
    assert (on.strategy, on.depth, on.image_concept) == ("deep", 3, True)
    assert (settings_for(1, "on").strategy, settings_for(1, "on").depth) == ("deep", 1)
    assert not settings_for(2, "off").image_concept and settings_for(2, "auto").depth == 2


def test_the_layers_on_top_of_a_deep_concept_take_its_recipes_steps(learned, stages, pack):
    tune = pack("nodes.fine_tune").FineTuneTransformer.execute
    concept, ar, subject = (learned.outputs[name][0][0] for name in ("learn", "model", "photos"))
    embedding = replace(concept, vectors=concept.vectors[0], origin=None)
    for start, steps in ((concept, 0), (concept, 7), (embedding, 0)):
        with pytest.raises(ValueError, match="noted"):
            tune(ar, subject, "LoRA", 0, steps, 0.0, 0, start)
    recipe = ar.model.family.recipe
    assert [stage for stage, _ in stages] == ["layers"] * 3
    assert [settings.layer_steps for _, settings in stages] == [recipe.deep.layer_steps, 7, recipe.lora_steps]


@pytest.mark.parametrize(
    "inputs, sentence",
    [
        ({"learn__depth": 7}, "depth is 7, and this model has 6 layers. Give that or fewer."),
        ({"learn__image_concept": "perhaps"}, 'image_concept is "perhaps"; choose one of: auto, on, off.'),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_read(inputs, sentence, comfy, pack, monkeypatch):
    monkeypatch.setattr(pack("nodes.training_view"), "prepare_subject", lambda *_, **__: pytest.fail("photos are read"))
    outcome = comfy.run(deep(**inputs))
    assert outcome.refusal(sentence), outcome.error or outcome.refused


# ---------------------------------------------------------------- learned, drawn, saved


def test_a_deep_concept_is_learned_and_remembered(learned, comfy, steps):
    concept = learned.outputs["learn"][0][0]
    assert concept.vectors.shape[:2] == (2, 1) and concept.adapter is None and concept.image_vectors is None
    said = learned.texts("learn")[-1]
    assert said == "deep: 2 steps, trained.\ndepth 2, image concept off, deep learning rate 0.5, seed 0."
    assert comfy.run(deep()).ok and steps == []
    outcome = comfy.run({"runs": node("RememberedTrainings", delete="nothing")})
    assert "deep concept" in outcome.texts("runs")[-1]


def test_it_draws_what_the_library_draws_and_leaves_the_model_as_it_is(learned, comfy, pack):
    outcome = comfy.run(sampled(drawn(deep()), ["model", 0], name="plain"))
    ar = outcome.outputs["apply"][0][0]
    assert not ar.transformer.patches
    core = pack("ar_core")
    with torch.inference_mode(False):
        base = core.ARModel.load()
        settings = core.SamplingSettings.resolve(base.family, seed=1)
        known = base.personalized(learned.outputs["learn"][0][0])
        assert torch.equal(pictures(outcome)[0], known.generate(PROMPT, settings)[0].images)
        assert torch.equal(pictures(outcome, "plain")[0], base.generate("a photo of a dog", settings)[0].images)


def test_strength_goes_from_the_base_to_what_was_learned(learned, comfy):
    nodes = drawn(deep(), "a photo of a [V] cat")
    nodes = sampled(nodes, ["model", 0], name="plain", prompt="a photo of a cat")
    pictures_at = {strength: comfy.run(changed(nodes, apply__strength=strength)) for strength in (0.0, 0.5, 1.0)}
    off = pictures_at[0.0]
    assert torch.equal(pictures(off)[0], pictures(off, "plain")[0])
    assert off.outputs["draw"][1] == ["a photo of a cat"]
    half, whole = (pictures(pictures_at[strength])[0] for strength in (0.5, 1.0))
    assert not torch.equal(half, whole) and not torch.equal(half, pictures(off)[0])


def test_with_an_image_concept_the_layers_are_learned_on_top_of_it(learned, comfy):
    nodes = graph(learn__depth=2, learn__image_concept="on", learn__learning_rate=0.5)
    outcome = comfy.run(sampled(applied(nodes), ["apply", 0], prompt=PROMPT))
    assert torch.isfinite(pictures(outcome)[0]).all()
    both = outcome.outputs["tune"][0][0]
    assert both.image_vectors.shape[:2] == (2, 1) and both.adapter.rank == 2
    assert str(both) == "[V] cat, deep concept and LoRA, 2 steps"


def test_a_saved_concept_is_a_small_file_that_draws_the_same(learned, comfy):
    nodes = drawn(deep())
    nodes["save"] = node("SavePersonalization", personalization=["learn", 0], name="deep", consent="my pet")
    first = comfy.run(nodes)
    path = comfy.base / "models" / "lumina_mgpt_subjects" / "deep.safetensors"
    assert first.ok and path.stat().st_size < 50_000
    loaded = {"model": nodes["model"], "file": node("LoadPersonalization", file="deep.safetensors")}
    loaded = sampled(applied(loaded, personalization="file"), ["apply", 0], prompt=PROMPT)
    outcome = comfy.run(loaded)
    assert torch.equal(pictures(outcome)[0], pictures(first)[0])
    assert outcome.outputs["file"][1][0] == "[V] cat, deep concept, 2 steps"


def test_a_second_subject_changes_no_picture_of_the_first(learned, comfy):
    """As nothing of the model is changed: with a LoRA each, both would."""
    nodes = deep()
    nodes["dog"] = node("SubjectPhotos", folder="example: lilac_dog", class_name="")
    nodes["learn_dog"] = {**nodes["learn"], "inputs": {**nodes["learn"]["inputs"], "subject": ["dog", 0]}}
    both = applied(drawn(nodes), name="second", model="apply", personalization="learn_dog", identifier="[W]")
    both = sampled(both, ["second", 0], name="beside", prompt=PROMPT)
    outcome = comfy.run(sampled(both, ["second", 0], name="other", prompt="a photo of [W] dog"))
    assert torch.equal(pictures(outcome)[0], pictures(outcome, "beside")[0])
    alone = drawn(nodes, "a photo of [W] dog", identifier="[W]")
    alone["apply"]["inputs"]["personalization"] = ["learn_dog", 0]
    assert torch.equal(pictures(comfy.run(alone))[0], pictures(outcome, "other")[0])


def test_through_streamed_layers_the_same_is_learned_and_drawn(comfy, streamed, pack, monkeypatch, steps, tmp_path):
    def run(runs: str):
        monkeypatch.setattr(pack("nodes.training_view"), "runs_folder", lambda: tmp_path / runs)
        outcome = Comfy(comfy.base).run(drawn(deep(learn__image_concept="on")))
        return outcome.outputs["learn"][0][0].concept, pictures(outcome)[0]

    concept, picture = run("streamed")
    streamed[-1].detach()
    for module in ("nodes.training_view", "nodes.sampler"):
        monkeypatch.setattr(pack(module), "make_resident", lambda ar, needed: None)
    expected, wanted = run("resident")
    assert steps == [0, 1] * 2
    assert torch.equal(concept, expected) and torch.equal(picture, wanted)
