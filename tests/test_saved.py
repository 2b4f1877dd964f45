"""What users saved at commit 0f6fd39 works: subjects, remembered trainings, and a training that was stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ar_core import (
    ARModel,
    Personalization,
    SamplingSettings,
    TrainingSettings,
    personalize,
    prepare_subject,
    read_photos,
)

SAVED = Path(__file__).parent / "fixtures" / "saved_0f6fd39"
EXPECTED = json.loads((SAVED / "expected.json").read_text(encoding="utf-8"))
LEARNED = load_file(SAVED / "expected.safetensors")
PROMPT = "a photo of [V] dog on the beach"
SMALL = {"embedding_steps": 2, "layer_steps": 2, "batch_size": 2, "micro_batch": 2, "rank": 2}


@pytest.fixture(scope="module")
def model() -> ARModel:
    return ARModel.load(SAVED / "base")


@pytest.fixture
def runs(tmp_path) -> Path:
    """A copy, so that nothing can change what was saved."""
    return Path(shutil.copytree(SAVED / "subjects" / "_runs", tmp_path / "_runs"))


def codes(model: ARModel, window: int, prompt: str = PROMPT) -> list[int]:
    settings = SamplingSettings.resolve(model.family, seed=5, window=window)
    return model.generate(prompt, settings)[0].codes.flatten().tolist()


def check_learned(name: str, personalization: Personalization) -> None:
    torch.testing.assert_close(personalization.vectors, LEARNED[f"{name}.vectors"], rtol=1e-5, atol=1e-6)
    adapter = personalization.adapter
    names = adapter.names() if adapter is not None else []
    assert {f"{name}.{part}" for part in names} == {key for key in LEARNED if key.startswith(f"{name}.model.")}
    for part in names:
        torch.testing.assert_close(adapter.change(part), LEARNED[f"{name}.{part}"], rtol=1e-4, atol=1e-7)


def remembered_names(runs: Path) -> set[str]:
    return {folder.name for folder in runs.iterdir() if not folder.name.startswith(".")}


def test_the_base_has_the_same_name_and_draws_the_same_picture(model):
    assert model.fingerprint == EXPECTED["fingerprint"]
    assert codes(model, 1, "a photo of a dog") == EXPECTED["base"]["sequential"]


@pytest.mark.parametrize("name", EXPECTED["subjects"])
def test_a_saved_subject_loads_and_draws_the_same_pictures(model, name):
    saved = Personalization.load(SAVED / "subjects" / f"{name}.safetensors")
    expected = EXPECTED["subjects"][name]
    check_learned(name, saved)
    assert saved.recipe == expected["recipe"]
    personalized = model.personalized(saved)
    assert codes(personalized, 1) == expected["sequential"]["codes"]
    assert codes(personalized, 16) == expected["window"]["codes"]
    assert codes(model.personalized(saved, 0.5), 1)[:64] == expected["half_strength"]


@pytest.mark.parametrize("name", EXPECTED["subjects"])
def test_a_finished_training_is_remembered(model, runs, name):
    expected = EXPECTED["subjects"][name]
    folders = remembered_names(runs)
    photos, _ = read_photos(SAVED / "photos")
    subject = prepare_subject(model, photos, "dog", runs=runs)
    assert subject.source == EXPECTED["subject_source"]
    settings = TrainingSettings.resolve(model.family, **{**SMALL, **expected["chosen"]})
    results = personalize(model, subject, settings, runs)
    assert [result.note for result in results] == ["remembered"] * len(results)
    assert [result.run.name for result in results] == expected["runs"]
    assert torch.equal(torch.tensor(results[-1].losses), torch.tensor(expected["losses"]))  # on disk they are float32
    check_learned(name, results[-1].personalization)
    assert remembered_names(runs) == folders  # photos were not read again either


def test_a_training_on_int8_weights_is_remembered(runs):
    model = ARModel.load(SAVED / "base", quantized="int8")
    photos, _ = read_photos(SAVED / "photos")
    subject = prepare_subject(model, photos, "dog", runs=runs)
    results = personalize(model, subject, TrainingSettings.resolve(model.family, **SMALL), runs)
    assert [result.note for result in results] == ["remembered"] * 2
    assert [result.run.name for result in results] == EXPECTED["int8"]["runs"]
    check_learned("int8", Personalization.load(SAVED / "subjects" / "int8.safetensors"))


def test_a_stopped_training_goes_on_and_ends_as_it_would_have(model, runs):
    stopped = EXPECTED["stopped"]
    photos, _ = read_photos(SAVED / "photos")
    subject = prepare_subject(model, photos, "dog", runs=runs)
    chosen = {**SMALL, "layer_steps": stopped["layer_steps"], "seed": stopped["seed"]}
    results = personalize(model, subject, TrainingSettings.resolve(model.family, **chosen), runs)
    assert [result.note for result in results] == ["remembered", "went on from step 3"]
    assert [result.run.name for result in results] == stopped["runs"]
    assert results[-1].losses == pytest.approx(stopped["losses"], rel=1e-5)
    check_learned("stopped", results[-1].personalization)


def test_fewer_steps_of_a_saved_training_are_exactly_those(model, runs, tmp_path):
    photos, _ = read_photos(SAVED / "photos")
    subject = prepare_subject(model, photos, "dog", runs=runs)
    settings = TrainingSettings.resolve(model.family, **{**SMALL, "embedding_steps": 1, "layer_steps": 1})
    asked = personalize(model, subject, settings, runs)
    fresh = personalize(model, subject, settings, tmp_path / "fresh")
    assert [result.step for result in asked] == [1, 1]
    for one, other in zip(asked, fresh, strict=True):
        assert torch.equal(one.personalization.vectors, other.personalization.vectors)
    pairs = zip(*(results[-1].personalization.adapter.parameters() for results in (asked, fresh)), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    stopped = EXPECTED["stopped"]  # its newest state is of step 3
    folder = runs / stopped["runs"][-1]
    before = (folder / "state.safetensors").read_bytes()
    chosen = {**SMALL, "layer_steps": 2, "seed": stopped["seed"]}
    results = personalize(model, subject, TrainingSettings.resolve(model.family, **chosen), runs)
    assert results[-1].run == folder and results[-1].step == 2
    assert (folder / "state.safetensors").read_bytes() == before


def test_the_picture_of_a_kept_step_is_remembered(model, runs):
    photos, _ = read_photos(SAVED / "photos")
    subject = prepare_subject(model, photos, "dog", runs=runs)
    settings = TrainingSettings.resolve(model.family, **SMALL, strategy="embedding_only")
    shown = []
    [result] = personalize(
        model, subject, settings, runs, samples=1, on_sample=lambda step, images: shown.append((step, images.shape))
    )
    assert result.samples[2].flatten().tolist() == EXPECTED["sample"]["codes"]
    assert shown == [(2, (1, 96, 96, 3))]
