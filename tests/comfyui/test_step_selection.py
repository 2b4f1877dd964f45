"""The training nodes' later inputs: which step is handed on, what is drawn on the way, pictures of the class."""

from __future__ import annotations

import pytest
from graphs import graph
from in_process import Comfy


@pytest.fixture
def every_step(pack, monkeypatch):
    """Every step is kept."""
    stages = pack("ar_core.training.stages")
    monkeypatch.setattr(stages, "KEEP_EVERY", dict.fromkeys(stages.KEEP_EVERY, 1))


def test_the_best_step_is_handed_on_and_the_node_says_by_what(every_step, comfy, pack, monkeypatch):
    nodes = graph(learn__training_seed=61, tune__training_seed=61, tune__use="best step", steps=3)
    nodes["tune"]["inputs"]["sample_prompts"] = "a {} in the desert\n\na green [V] cat"
    outcome = comfy.run(nodes)
    assert outcome.ok, outcome.error
    learned, _, samples = (outcome.outputs["tune"][i][0] for i in range(3))
    chosen = learned.recipe["selected"]
    assert chosen["by"] == "best" and chosen["of"] == [1, 2, 3] and chosen["measures"] == ["mini-ID", "mini-CLIP-T"]
    assert chosen["prompts"] == ["a [V] cat in the desert", "a green [V] cat"]
    said = outcome.texts("tune")[-1]
    assert f"step {learned.recipe['steps']} is handed on, the best by mini-ID and mini-CLIP-T" in said
    assert all(f"step {step}: likeness " in said for step in (1, 2, 3))
    assert len(samples) == 3 and samples.shape[2] > 2 * 256  # a picture of either prompt at each step
    monkeypatch.setattr(pack("ar_core.training.stages").Stage, "draw", lambda *_: pytest.fail("drew again"))
    again = Comfy(comfy.base).run(nodes)
    assert again.ok, again.error
    assert again.outputs["tune"][0][0].recipe["selected"] == chosen


def test_without_a_choice_the_file_says_nothing_of_one(trained):
    assert all("selected" not in trained.outputs[name][0][0].recipe for name in ("learn", "tune"))


def test_the_best_embedding_of_stage_one(every_step, comfy):
    outcome = comfy.run(graph(learn__training_seed=62, learn__use="best step", tune__training_seed=62))
    assert outcome.ok, outcome.error
    assert outcome.outputs["learn"][0][0].recipe["selected"]["of"] == [1, 2]


@pytest.mark.parametrize(
    "values, sentence",
    [
        (
            {"tune__sample_prompts": "a cat", "tune__use": "best step"},
            '"a cat" does not name the subject. Write {} or "[V] cat" where it goes',
        ),
        ({"tune__use": "first step"}, 'use is "first step"'),
    ],
)
def test_what_cannot_be_meant_is_said_before_the_training(values, sentence, trained, comfy, steps):
    outcome = comfy.run(graph(**values))
    assert outcome.refusal(sentence)
    assert not steps


def test_another_model_without_encoders_says_where_they_go(trained, pack):
    from dataclasses import replace

    ar = trained.outputs["model"][0][0]
    ar = replace(ar, model=replace(ar.model, family=replace(ar.model.family, name="lumina-mgpt")))
    with pytest.raises(ValueError, match='use is "best step", which needs DINO and CLIP.*lumina_mgpt_scorers'):
        pack("nodes.step_selection").judging_encoders(ar)


def test_pictures_of_the_class_are_trained_on_and_remembered(base, comfy, pack, monkeypatch):
    outcome = comfy.run(graph(tune__training_seed=63, tune__prior_preservation=True))
    assert outcome.ok, outcome.error
    assert outcome.outputs["tune"][0][0].recipe["prior_preservation"] is True
    runs = base / "models" / "lumina_mgpt_runs"
    assert list(runs.glob("class-pictures-*/prior.safetensors"))
    monkeypatch.setattr(
        pack("ar_core.training.class_pictures"), "draw_in_batches", lambda *_, **__: pytest.fail("drew")
    )
    again = Comfy(comfy.base).run(graph(tune__training_seed=63, tune__prior_preservation=True, tune__steps=3))
    assert again.ok, again.error
