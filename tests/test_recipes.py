"""Recipes by name, and what is left to the memory that is free."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy import FAMILY, toy_model, toy_subject

from ar_core import cli
from ar_core.families.janus_pro import JANUS_PRO_1B
from ar_core.families.lumina_mgpt import ARTIST_RECIPE, LUMINA_512, LUMINA_768, LUMINA_1024, PAPER_RECIPE
from ar_core.families.miniature import MINIATURE
from ar_core.families.recipes import for_artists, of_paper, with_recipe
from ar_core.photos import read_photos
from ar_core.shipped import example_subjects
from ar_core.training import TrainingSettings, personalize, prepare_subject
from ar_core.training.passes import Passes, fitting_passes
from ar_core.training.settings import JOINT, LAYERS


@pytest.mark.parametrize("family", [LUMINA_512, LUMINA_768, LUMINA_1024])
def test_the_recipe_for_artists_learns_from_512_px_and_draws_at_the_models_own_size(family):
    recipe = for_artists(family).recipe
    assert recipe.learned_size == (512, 512) and recipe.size == family.recipe.size
    assert (recipe.cfg, recipe.top_k, recipe.temperature) == (4.0, 2000, 1.0)
    assert family.recipe.learned_size == family.recipe.size  # the paper's stays as it was


def test_it_takes_a_tenth_of_the_papers_pairs():
    def pairs(recipe):
        return recipe.batch_size * (recipe.embedding_steps + recipe.lora_steps)

    assert pairs(ARTIST_RECIPE) <= pairs(PAPER_RECIPE) / 10


def test_a_family_without_one_keeps_its_own():
    assert for_artists(MINIATURE).recipe is MINIATURE.recipe


def test_a_graphs_word_paper_means_the_familys_own_recipe_or_else_the_papers():
    """The first for graphs that were saved before there was a choice."""
    assert of_paper(LUMINA_512).recipe is LUMINA_512.recipe and of_paper(MINIATURE).recipe is MINIATURE.recipe
    recipe = of_paper(JANUS_PRO_1B).recipe
    assert recipe.embedding_steps == PAPER_RECIPE.embedding_steps != JANUS_PRO_1B.recipe.embedding_steps
    assert (recipe.cfg, recipe.top_k, recipe.size) == (5.0, 16384, (384, 384))
    assert for_artists(JANUS_PRO_1B).recipe == JANUS_PRO_1B.recipe


@pytest.mark.parametrize("name, recipe", [("paper", PAPER_RECIPE), ("artist", ARTIST_RECIPE)])
def test_a_recipe_by_name_takes_a_size_that_the_family_draws(name, recipe):
    chosen = with_recipe(MINIATURE, name).recipe
    assert chosen == replace(recipe, size=(96, 96), training_size=None)
    assert with_recipe(LUMINA_768, name).recipe == recipe
    assert with_recipe(MINIATURE, "auto") is MINIATURE
    with pytest.raises(ValueError, match='no recipe "mine". Choose one of: auto, paper, artist'):
        with_recipe(MINIATURE, "mine")


def test_the_command_line_lists_what_differs_from_the_paper(capsys):
    assert cli.main(["info", "--recipe", "artist"]) == 0
    said = capsys.readouterr().out
    assert (
        "embedding_steps            100          the paper: 1500" in said and "lora_rank                  64\n" in said
    )


def small_training(training_size) -> object:
    """The toy's family with pictures to learn from of another size than those that are drawn."""
    family = replace(FAMILY, recipe=replace(FAMILY.recipe, training_size=training_size, micro_batch=0, batch_size=4))
    return replace(toy_model(), family=family)


def test_a_training_on_pictures_of_another_size_shows_samples_of_that_size(tmp_path):
    """Which is none that the family lists."""
    model = small_training((32, 64))
    photos = read_photos(example_subjects() / "lilac_dog")[0][:2]
    subject = prepare_subject(model, photos, "dog")
    assert subject.size == (32, 64) and subject.codes.shape[1:] == (8, 4)
    settings = TrainingSettings.resolve(model.family, embedding_steps=1, layer_steps=1, prior_preservation=True)
    shown = []
    results = personalize(
        model, subject, settings, tmp_path, samples=1, on_sample=lambda step, images: shown.append(images.shape)
    )
    assert shown == [(1, 64, 32, 3)] * 2
    learned = model.personalized(results[-1].personalization)
    assert learned.family.recipe.size == FAMILY.recipe.size


@pytest.mark.parametrize("wish", [Passes(4, False), Passes(2, False), Passes(1, False), Passes(1, True)])
def test_the_quickest_passes_that_fit_are_taken(wish):
    model = small_training(None)
    settings = TrainingSettings.resolve(model.family)
    free = wish.bytes(model, settings, LAYERS)
    assert fitting_passes(model, settings, LAYERS, free) == wish


def test_the_size_that_is_trained_counts(tmp_path):
    """`personalize --size` may be larger than the recipe's."""
    model = small_training(None)
    settings = TrainingSettings.resolve(model.family)
    free = Passes(4, False).bytes(model, settings, LAYERS)
    assert fitting_passes(model, settings, LAYERS, free) == Passes(4, False)
    larger = fitting_passes(model, settings, LAYERS, free, (128, 128))
    assert larger.micro_batch < 4 or larger.gradient_checkpointing


def test_where_nothing_fits_or_nobody_knows_the_smallest_passes_are_taken():
    model = small_training(None)
    settings = TrainingSettings.resolve(model.family)
    for free in (0, None):
        assert fitting_passes(model, settings, LAYERS, free) == Passes(1, True)


def test_chosen_passes_are_not_questioned():
    settings = TrainingSettings.resolve(FAMILY, micro_batch=2, gradient_checkpointing=True)
    assert fitting_passes(toy_model(), settings, LAYERS, 0) == Passes(2, True)
    with pytest.raises(ValueError, match="micro_batch is -1; it must be from 1 to 4096, or 0 for as many as fit"):
        TrainingSettings.resolve(FAMILY, micro_batch=-1)


def test_what_fits_decides_rounding_alone_and_is_no_other_run(tmp_path, monkeypatch):
    model = small_training(None)
    settings = TrainingSettings.resolve(model.family, strategy="joint", layer_steps=3)
    learned = []
    for free in (10**12, 0):
        monkeypatch.setattr("ar_core.training.stages.training_room", lambda device, free=free: free)
        learned.append(personalize(model, toy_subject(), settings, tmp_path / str(free))[-1])
    assert learned[0].run.name == learned[1].run.name
    first, second = (result.personalization for result in learned)
    assert torch.allclose(first.vectors, second.vectors, atol=1e-5)
    for a, b in zip(first.adapter.parameters(), second.adapter.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_what_fits_now_changes_no_bit_of_a_training_that_goes_on(tmp_path, monkeypatch):
    """It takes its pairs as before, where that still fits."""
    model = small_training(None)

    def learned(steps, free, folder):
        monkeypatch.setattr("ar_core.training.stages.training_room", lambda device: free)
        settings = TrainingSettings.resolve(model.family, strategy="joint", layer_steps=steps)
        return personalize(model, toy_subject(), settings, tmp_path / folder)[-1].personalization

    settings = TrainingSettings.resolve(model.family, strategy="joint")
    two_at_once = Passes(2, False).bytes(model, settings, JOINT)
    whole = learned(4, two_at_once, "whole")
    learned(2, two_at_once, "parts")
    resumed = learned(4, 10**12, "parts")
    assert torch.equal(whole.vectors, resumed.vectors)
    for a, b in zip(whole.adapter.parameters(), resumed.adapter.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_strategy_that_is_left_open_is_the_recipes():
    """One place to change where another strategy wins; until then the paper's."""
    for family in (FAMILY, MINIATURE, LUMINA_768, JANUS_PRO_1B):
        assert TrainingSettings.resolve(family).strategy == "two_stage"
    family = replace(FAMILY, recipe=replace(FAMILY.recipe, strategy="deep"))
    assert TrainingSettings.resolve(family).strategy == "deep"
    assert TrainingSettings.resolve(family, strategy="joint").strategy == "joint"
