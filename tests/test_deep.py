"""Deep concepts: vectors in the stream of the first layers, from training to picture, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import toy_janus
from safetensors import safe_open
from safetensors.torch import save, save_file
from toy import FAMILY, SIZE, learned, quantized_toy, toy_model, toy_subject

from ar_core import cli
from ar_core.attention import WholeSequences
from ar_core.concepts import Concepts, states_entering
from ar_core.control import Cancelled
from ar_core.personalization import Personalization, PersonalizationError
from ar_core.rotary import rotary_table
from ar_core.sampling import SamplingSettings
from ar_core.text import check_identifier_name
from ar_core.training import TrainingSettings, personalize, stages
from ar_core.training.deep import deep_start
from ar_core.training.examples import photo_identifiers
from ar_core.training.stages import Stage

SETTINGS = SamplingSettings.resolve(FAMILY, seed=3, window=1)
PROMPT = "a photo of [V] dog"


def settings(strategy: str = "deep", **chosen) -> TrainingSettings:
    values = {"depth": 2, "deep_steps": 3, "layer_steps": 2, "deep_learning_rate": 0.5, **chosen}
    return TrainingSettings.resolve(FAMILY, strategy=strategy, **values)


def train(runs, strategy: str = "deep", model=None, **chosen) -> Personalization:
    return personalize(model or toy_model(), toy_subject(), settings(strategy, **chosen), runs)[-1].personalization


def random_concept(depth: int, images: int = 0, vectors: int = 1, seed: int = 0, name: str = "[V]") -> Personalization:
    generator = torch.Generator().manual_seed(seed)
    all_of_it = torch.randn(2, depth, vectors + images, 16, generator=generator)
    return Personalization(
        name,
        "dog",
        all_of_it[0, :, :vectors],
        None,
        toy_model().fingerprint,
        image_vectors=all_of_it[0, :, vectors:] if images else None,
        origin=all_of_it[1],
    )


def slow_hidden(model, ids: list[int], concept: torch.Tensor, first: int) -> torch.Tensor:
    """One layer after the other, each position of the concept replaced by hand before it."""
    transformer = model.base
    config = transformer.config
    attention = WholeSequences(len(ids), transformer.device)
    x = transformer.embed(torch.tensor([ids]))
    rotary = rotary_table(attention.positions, config.head_dim, config.rope_theta, x.dtype)
    for number, layer in enumerate(transformer.model.layers):
        for place, token in enumerate(ids):
            if first <= token < first + concept.shape[1] and number < len(concept):
                x[0, place] = concept[number, token - first]
        x = layer(x, number, rotary, attention)
    return transformer.model.norm(x)


# ---------------------------------------------------------------- the stream


@pytest.mark.parametrize("depth, images", [(1, 0), (2, 0), (2, 1), (1, 1)])
@torch.no_grad()
def test_states_are_those_of_a_plain_loop(depth, images):
    model = toy_model()
    concept = random_concept(depth, images, vectors=2)
    applied = model.personalized(concept)
    ids = applied.protocol.prompt(PROMPT, SIZE, applied.identifiers)
    first = applied.protocol.identifier_base
    assert sum(first <= token < first + 2 + images for token in ids) == 2 + images
    hidden = slow_hidden(model, ids, concept.concept, first)
    entering = applied.concepts.placed_in(torch.tensor([ids]))
    torch.testing.assert_close(applied.transformer(model.base.embed(torch.tensor([ids])), entering=entering), hidden)


def test_the_image_concept_stands_before_the_header_and_not_in_the_unguided_row():
    model = toy_model()
    protocol = model.protocol
    applied = model.personalized(random_concept(2, 1))
    ids = protocol.prompt(PROMPT, SIZE, applied.identifiers)
    plain = protocol.prompt("a photo of dog", SIZE)
    header = protocol.header(SIZE)
    assert ids[-len(header) :] == header and ids[-len(header) - 1] == protocol.identifier_base + 1
    assert protocol.unguided(ids) == protocol.unguided(plain)
    twice = protocol.prompt("[V] dog beside [V] dog", SIZE, applied.identifiers)
    assert twice.count(protocol.identifier_base + 1) == 1
    assert protocol.prompt("a dog", SIZE, applied.identifiers) == protocol.prompt("a dog", SIZE)


@pytest.mark.parametrize("window", [1, 4])
def test_rows_with_different_subjects_are_drawn_as_each_alone(window):
    model = toy_model().personalized(random_concept(2, 1, seed=1)).personalized(random_concept(1, seed=2, name="[W]"))
    chosen = replace(SETTINGS, window=window)
    prompts = ["a photo of [V] dog", "a [W] dog on the beach", "a dog", "a [V] dog and a [W] dog"]
    together = model.generate(prompts, chosen)
    for number, prompt in enumerate(prompts):
        alone = model.generate([prompt], chosen, first_image=number)[0]
        assert torch.equal(alone.codes, together[number].codes)


def test_concepts_of_different_depth_lie_side_by_side():
    deep, flat = torch.randn(2, 1, 16), torch.randn(1, 2, 16)
    concepts = Concepts.stacked([deep, flat], first_id=5)
    ids = torch.tensor([[5, 6, 7, 8]])
    x = torch.zeros(1, 4, 16)
    entering = concepts.placed_in(ids)
    assert torch.equal(entering(0, x)[0], torch.cat([deep[0], flat[0], x[0, 3:]]))
    assert torch.equal(entering(1, x)[0], torch.cat([deep[1], x[0, 1:]]))
    assert entering(2, x) is x


# ---------------------------------------------------------------- learning


def test_a_concept_starts_as_the_embedding_that_it_starts_with():
    model = toy_model()
    subject = toy_subject()
    stage = Stage(model, subject, settings(), "nowhere", "deep")
    start = stage._new_trainable()
    assert start.origin.shape == (2, 1, 16) and not start.vectors.any()
    ids = torch.tensor([stage._examples(start).plain_prompts[0]])
    first = model.protocol.identifier_base
    flat = Concepts.stacked([start.origin[:1]], first)  # its embedding alone
    deep = start.concepts(first)
    hidden = [model.base(model.base.embed(ids), entering=concepts.placed_in(ids)) for concepts in (flat, deep)]
    torch.testing.assert_close(hidden[0], hidden[1])


def test_every_layers_vector_moves_in_units_of_its_own_states(tmp_path):
    """With one rate for all, the vector of a layer with large states would hardly move."""
    model = toy_model()
    stage = Stage(model, toy_subject(), settings(), tmp_path, "deep")
    units = stage._new_trainable().units
    concept = train(tmp_path)
    moved = (concept.concept - concept.origin).abs().amax((1, 2))
    assert units[1] / units[0] > 2  # the toy's states grow, too
    torch.testing.assert_close(moved / units, torch.full((2,), 1.5), atol=0.3, rtol=0)  # three steps of 0.5, by Adam


@pytest.mark.parametrize("image_concept", [False, True])
@pytest.mark.parametrize("strategy", ["deep", "deep_two_stage"])
def test_a_loss_falls_and_a_file_draws_what_was_learned(strategy, image_concept, tmp_path):
    model = toy_model()
    chosen = settings(strategy, image_concept=image_concept, deep_steps=12, deep_learning_rate=0.1)
    results = personalize(model, toy_subject(), chosen, tmp_path / "runs")
    assert results[0].losses[-1] < results[0].losses[0]
    concept = results[-1].personalization
    assert concept.vectors.shape == (2, 1, 16) and (concept.image_vectors is not None) == image_concept
    assert torch.equal(concept.vectors, results[0].personalization.vectors)  # the layers leave it as it is
    assert (concept.adapter is None) == (strategy == "deep")
    reloaded = Personalization.load(concept.save(tmp_path / "dog"))
    assert reloaded.recipe["depth"] == 2 and str(reloaded).startswith("[V] dog, ")
    drawn = [model.personalized(one).generate([PROMPT], SETTINGS)[0].codes for one in (concept, reloaded)]
    assert torch.equal(*drawn)


def test_learning_goes_on_where_it_was_stopped(tmp_path):
    whole = train(tmp_path / "whole", deep_steps=6, image_concept=True)
    train(tmp_path / "parts", deep_steps=4, image_concept=True)
    parts = train(tmp_path / "parts", deep_steps=6, image_concept=True)
    assert torch.equal(whole.concept, parts.concept)
    stopped = iter([False, False, True])
    with pytest.raises(Cancelled):
        personalize(
            toy_model(),
            toy_subject(),
            settings(deep_steps=6, image_concept=True),
            tmp_path / "cancelled",
            cancel=lambda: next(stopped, True),
        )
    assert torch.equal(train(tmp_path / "cancelled", deep_steps=6, image_concept=True).concept, whole.concept)


def test_other_depths_are_other_trainings(tmp_path):
    for chosen in ({}, {"depth": 1}, {"image_concept": True}, {"deep_learning_rate": 0.1}):
        train(tmp_path, **chosen)
    assert len(list(tmp_path.glob("dog-deep-*"))) == 4
    train(tmp_path, layer_steps=9)  # decides nothing here
    assert len(list(tmp_path.glob("dog-deep-*"))) == 4


def test_more_layers_than_there_are_cannot_be_learned(tmp_path):
    with pytest.raises(PersonalizationError, match="depth is 3, and this model has 2 layers"):
        train(tmp_path, depth=3)
    assert not list(tmp_path.iterdir())


def test_photos_have_tokens_of_their_own_beside_a_deep_concept(tmp_path):
    plain = train(tmp_path, image_concept=True)
    beside = train(tmp_path, image_concept=True, per_image_token=True)
    assert beside.concept.shape == plain.concept.shape and not torch.equal(beside.concept, plain.concept)


def test_a_subject_may_be_called_what_a_photo_was_called_once(tmp_path):
    """Tokens of photos have names that nobody can write."""
    chosen = settings(per_image_token=True)
    learned = [
        personalize(toy_model(), toy_subject(), chosen, tmp_path / name, identifier=name)[-1].personalization.concept
        for name in ("[V]", "[photo0]")
    ]
    assert torch.equal(*learned)
    stage = Stage(toy_model(), toy_subject(), chosen, tmp_path, "deep")
    for token in photo_identifiers(2, stage.model.protocol.identifier_base):
        assert check_identifier_name(token.name) != token.name


def test_the_start_is_computed_once_for_all_kept_results(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(stages, "deep_start", lambda *a: calls.append(a) or deep_start(*a))
    stage = Stage(toy_model(), toy_subject(), settings(image_concept=True), tmp_path, "deep", every=1)
    last = stage.train(3).personalization
    kept = [stage.kept_personalization(step) for step in (1, 2, 3)]
    assert len(calls) == 1
    assert torch.equal(kept[2].concept, last.concept) and not torch.equal(kept[0].concept, last.concept)
    assert all(torch.equal(one.origin, last.origin) for one in kept)


def test_janus_learns_and_draws_a_deep_concept(tmp_path):
    """Its unguided row is the prompt with everything between its ends padded, the image concept among it."""
    model = toy_janus.toy_model()
    chosen = TrainingSettings.resolve(model.family, strategy="deep", depth=2, deep_steps=2, image_concept=True)
    concept = personalize(model, toy_janus.toy_subject(), chosen, tmp_path)[-1].personalization
    applied = model.personalized(concept)
    ids = applied.protocol.prompt(PROMPT, toy_janus.SIZE, applied.identifiers)
    first = applied.protocol.identifier_base
    assert ids[-2] == first + 1 and not {first, first + 1} & set(applied.protocol.unguided(ids))
    assert applied.generate([PROMPT], SamplingSettings.resolve(model.family, seed=0))[0].codes.shape == (1, 4, 4)


def test_a_quantized_model_learns_and_draws(tmp_path):
    model = quantized_toy("int8")
    concept = train(tmp_path, model=model, image_concept=True)
    assert model.personalized(concept).generate([PROMPT], SETTINGS)[0].codes.shape == (1, 4, 4)


# ---------------------------------------------------------------- files and strength


def test_strength_is_the_way_from_where_it_started():
    concept = random_concept(2, 1)
    assert torch.equal(concept.concept_at(1.0), concept.concept)
    assert torch.equal(concept.concept_at(0.0), concept.origin)
    torch.testing.assert_close(concept.concept_at(0.5), (concept.concept + concept.origin) / 2)
    dropped = toy_model().personalized(concept, 0.0).generate([PROMPT], SETTINGS)[0]
    assert dropped.prompt == "a photo of dog"
    assert torch.equal(dropped.codes, toy_model().generate(["a photo of dog"], SETTINGS)[0].codes)


def test_files_of_embeddings_are_as_they_always_were(tmp_path):
    file = learned(toy_model(), "embedding").save(tmp_path / "flat").read_bytes()
    assert b"ar-personalization/1" in file and b'"identifier"' in file and b"origin" not in file
    deep = random_concept(2, 1).save(tmp_path / "deep").read_bytes()
    assert b"ar-personalization/2" in deep and b'"concept"' in deep


@pytest.mark.parametrize(
    "change",
    [
        {"origin": torch.zeros(3, 2, 16)},
        {"image_vectors": torch.zeros(1, 1, 16)},
        {"vectors": torch.full((2, 1, 16), float("nan"))},
    ],
)
def test_parts_that_do_not_fit_are_refused(change, tmp_path):
    path = replace(random_concept(2, 1), **change).save(tmp_path / "dog")
    with pytest.raises(PersonalizationError, match="is damaged or was changed"):
        Personalization.load(path)


@pytest.mark.parametrize(
    "tensors, words, said",
    [
        ({"image_concept": torch.zeros(2, 0, 16), "origin": torch.zeros(2, 1, 16)}, {}, "the image concept is"),
        ({"concept": torch.full((2, 1, 16), 1e300, dtype=torch.float64)}, {}, "not finite"),
        ({"origin": torch.ones(2, 2, 16, dtype=torch.int64)}, {}, "origin is of torch.int64"),
        ({"image_concept": torch.ones(2, 1, 16, dtype=torch.bool)}, {}, "image_concept is of torch.bool"),
        ({"identifier": torch.ones(1, 16)}, {"format": "ar-personalization/1"}, "neither an image concept nor"),
    ],
)
def test_a_file_of_other_values_is_refused(tensors, words, said):
    concept = random_concept(2, 1)
    tensors = {name: tensor.contiguous() for name, tensor in {**concept._tensors(), **tensors}.items()}
    file = save(tensors, {**concept._metadata(), **words})
    with pytest.raises(PersonalizationError, match=said):
        Personalization.from_bytes(file)


def test_halves_are_read_as_what_is_computed_with():
    concept = random_concept(2, 1)
    file = save({name: tensor.half() for name, tensor in concept._tensors().items()}, concept._metadata())
    read = Personalization.from_bytes(file)
    assert {read.vectors.dtype, read.image_vectors.dtype, read.origin.dtype} == {torch.float32}
    torch.testing.assert_close(read.concept, concept.concept, atol=2e-3, rtol=1e-3)


def test_info_says_what_a_deep_concept_is(tmp_path, capsys):
    for class_name, said in (
        ("dog", "[V] dog: 1 vector(s) in each of the first 2 layer(s), an image concept + no change of the layers"),
        ("", "[V], a style: 1 vector(s) in each of the first 2 layer(s), an image concept + no change of the layers"),
    ):
        path = replace(random_concept(2, 1), class_name=class_name).save(tmp_path / f"a {class_name}")
        assert cli.main(["info", str(path)]) == 0 and said in capsys.readouterr().out


def test_an_embedding_is_not_read_as_a_deep_concept(tmp_path):
    path = learned(toy_model(), "embedding").save(tmp_path / "flat")
    with safe_open(path, "pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if "checksum" not in key}
        save_file({"identifier": torch.zeros(2, 1, 16)}, path.with_name("deep.safetensors"), metadata)
    with pytest.raises(PersonalizationError, match="is damaged or was changed"):
        Personalization.load(path.with_name("deep.safetensors"))


def test_a_concept_for_more_layers_than_there_are_is_refused():
    with pytest.raises(PersonalizationError, match="has vectors for 3 layers, this model has 2"):
        toy_model().personalized(random_concept(3))


def test_what_enters_layers_is_watched_without_being_changed():
    model = toy_model().base
    embeddings = torch.randn(1, 5, 16)
    states = states_entering(model, embeddings, 2)
    torch.testing.assert_close(states[0], embeddings)
    assert len(states) == 2 and not torch.equal(states[1], embeddings)
