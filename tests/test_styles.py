"""Styles: deep concepts without a class word, in prompts, trainings, files and beside a subject."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy import FAMILY, SIZE, learned, toy_model, toy_subject

from ar_core.personalization import Personalization, PersonalizationError
from ar_core.sampling import SamplingSettings
from ar_core.text import Identifier, TextError, check_class_name, prompt_hints, resolve_prompt, without_identifier
from ar_core.training import TrainingSettings, personalize
from ar_core.training.stages import Stage

SETTINGS = SamplingSettings.resolve(FAMILY, seed=3, window=1)
STYLE = replace(toy_subject(), class_name="")


def settings(strategy: str = "deep", **chosen) -> TrainingSettings:
    return TrainingSettings.resolve(FAMILY, strategy=strategy, **{"depth": 2, "deep_steps": 2, **chosen})


def style(runs, **chosen) -> Personalization:
    return personalize(toy_model(), STYLE, settings(**chosen), runs)[-1].personalization


@pytest.mark.parametrize(
    "prompt, read, dropped",
    [
        ("a dog in the style of [V]", "a dog in the style of [V]", "a dog"),
        ("a dog, in the style of [V]", "a dog, in the style of [V]", "a dog"),
        ("a dog in style of [V] on the beach", "a dog in style of [V] on the beach", "a dog on the beach"),
        ("[V]", "[V]", ""),
        ("in the style of [V], a dog", "in the style of [V], a dog", "a dog"),
        ("a dog, [V]", "a dog, [V]", "a dog"),
        ("a dog, [V], in the snow", "a dog, [V], in the snow", "a dog, in the snow"),
        ("a dog, [V].", "a dog, [V].", "a dog."),
        ("a dog in a style of [V]", "a dog in a style of [V]", "a dog"),
        ("a dog in [V] style", "a dog in [V] style", "a dog"),
        ("a dog in the [V] style on the beach", "a dog in the [V] style on the beach", "a dog on the beach"),
        ("a dog in a [V]-style house", "a dog in a [V]-style house", "a dog in a house"),
        ("a dog in [V]'s style", "a dog in [V]'s style", "a dog"),
        ("a painting by [V]", "a painting by [V]", "a painting"),
        ("a cat by [V] hills", "a cat by [V] hills", "a cat by hills"),
        ("[V]'s sky over a dog", "[V]'s sky over a dog", "sky over a dog"),
        ("a lifestyle of [V]", "a lifestyle of [V]", "a lifestyle of"),
    ],
)
def test_a_styles_name_stays_alone_and_goes_with_what_leads_to_it(prompt, read, dropped):
    named = Identifier("[V]", "", 5, 1)
    assert resolve_prompt(prompt, [named]) == read
    assert resolve_prompt(prompt, [replace(named, dropped=True)]) == dropped


def test_several_styles_go_each_with_its_own_words():
    named = [Identifier(name, "", 5, 1, dropped=True) for name in ("[V]", "[W]")]
    assert resolve_prompt("a dog, [V], in the style of [W]", named) == "a dog"


def test_pictures_of_a_style_are_compared_with_a_sentence_that_does_not_lead_to_its_name():
    assert without_identifier("a photo on the beach in the style of [V]") == "a photo on the beach"
    assert without_identifier("a [V] dog, by the sea", "dog") == "a dog, by the sea"
    assert without_identifier("a [V\u200b] dog", "dog") == "a dog"


def test_a_hint_calls_a_style_by_its_name_alone():
    assert prompt_hints(["a dog"], [Identifier("[V]", "", 5, 1)]) == ["No prompt names [V]: write [V] to draw it"]


def test_only_where_it_may_be_a_style_a_class_word_may_be_empty():
    assert check_class_name(" \u200b", style=True) == ""
    with pytest.raises(TextError, match="The class name is empty"):
        check_class_name("")
    with pytest.raises(TextError, match="is not one or two words"):
        check_class_name("!", style=True)


@pytest.mark.parametrize("image_concept", [False, True])
def test_a_style_is_learned_saved_and_drawn(tmp_path, image_concept):
    learned_style = style(tmp_path / "runs", image_concept=image_concept)
    path = learned_style.save(tmp_path / "style")
    reloaded = Personalization.load(path)
    assert reloaded.class_name == "" and str(reloaded) == "[V], deep concept, 2 steps"
    assert b'"modelspec.trigger_phrase":"[V]"' in path.read_bytes()
    model = toy_model().personalized(reloaded)
    image = model.generate(["a dog in the style of [V]"], SETTINGS)[0]
    plain = toy_model().generate(["a dog"], SETTINGS)[0]
    assert image.prompt == "a dog in the style of [V]" and not torch.equal(image.codes, plain.codes)
    before = toy_model().personalized(reloaded, 0.0).generate(["a dog in the style of [V]"], SETTINGS)[0]
    assert before.prompt == "a dog" and torch.equal(before.codes, plain.codes)


def test_trainings_of_a_style_name_it_as_its_prompts_will(tmp_path):
    stage = Stage(toy_model(), STYLE, settings(), tmp_path, "deep")
    trainable = stage._new_trainable()
    prompts = stage._examples(trainable).plain_prompts
    named = Identifier("[V]", "", stage.model.protocol.identifier_base, 1)
    assert prompts[0] == stage.model.protocol.prompt("a photo in the style of [V]", SIZE, [named])
    assert stage.prompts == ("a photo on the beach in the style of [V]",)
    assert stage.run.folder.name.startswith("style-deep-") and trainable.origin.isfinite().all()


@pytest.mark.parametrize(
    "strategy, chosen, said",
    [
        ("two_stage", {}, "which the strategy two_stage cannot. Choose the strategy deep"),
        ("deep_two_stage", {}, "which the strategy deep_two_stage cannot"),
    ],
)
def test_what_a_style_cannot_be_is_said_before_anything_is_learned(strategy, chosen, said, tmp_path):
    with pytest.raises(PersonalizationError, match=said):
        personalize(toy_model(), STYLE, settings(strategy, **chosen), tmp_path)
    assert not list(tmp_path.iterdir())


def test_class_pictures_of_a_style_are_photos_in_none(tmp_path):
    plain = style(tmp_path, image_concept=True)
    same = style(tmp_path, image_concept=True, prior_preservation=True)  # of stages that a style does not have
    assert torch.equal(plain.vectors, same.vectors) and not list(tmp_path.glob("class-pictures-*"))
    style(tmp_path, image_concept=True, dual_prior_weight=0.3, dual_prior_images=2)
    [pictures] = tmp_path.glob("class-pictures-*/run.json")
    assert '"a photo"' in pictures.read_text(encoding="utf-8")


def test_a_file_of_an_embedding_needs_its_class_word(tmp_path):
    path = replace(learned(toy_model(), "embedding"), class_name="").save(tmp_path / "flat")
    with pytest.raises(PersonalizationError, match="class name is empty"):
        Personalization.load(path)


def test_a_subject_and_a_style_stand_in_one_prompt_and_are_kept_apart(tmp_path):
    subject = personalize(toy_model(), toy_subject(), settings(image_concept=True), tmp_path)[-1].personalization
    model = toy_model().personalized(subject).personalized(style(tmp_path, image_concept=True), name="[S]")
    prompt = "a [V] dog in the style of [S]"
    ids = torch.tensor([model.protocol.prompt(prompt, SIZE, model.identifiers)])
    assert int(model.concepts.identity_mask(ids)(0).sum()) == 2 * 2 * 2
    assert model.generate([prompt], SETTINGS)[0].prompt == prompt


def test_a_style_that_changes_the_layers_is_refused():
    """No training gives one: nothing would keep it from the rest of the picture."""
    with pytest.raises(PersonalizationError, match="The class name is empty"):
        Personalization.from_bytes(replace(learned(toy_model()), class_name="").to_bytes())
    deep = replace(learned(toy_model()), class_name="", vectors=torch.zeros(2, 1, 16))
    with pytest.raises(PersonalizationError, match="The class name is empty"):
        Personalization.from_bytes(deep.to_bytes())
