"""What holds an image concept back: the distance from its start, and class pictures that are to stay as likely."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import toy_janus
from toy import FAMILY, SIZE, quantized_toy, toy_model, toy_subject

from ar_core.control import Cancelled
from ar_core.dreambench.variants import VARIANTS
from ar_core.families.lumina_mgpt import ARTIST_RECIPE, PAPER_RECIPE
from ar_core.training import TrainingSettings, personalize, runs
from ar_core.training.examples import Batch
from ar_core.training.frozen_distribution import NAME
from ar_core.training.loss import image_code_loss
from ar_core.training.passes import Passes, fitting_passes
from ar_core.training.regularizers import context_distance
from ar_core.training.stages import Stage
from ar_core.training.top_codes import KEPT_CODES, TopCodes

BOTH = {"context_weight": 0.05, "dual_prior_weight": 0.3}


def settings(strategy: str = "deep", **chosen) -> TrainingSettings:
    values = {"depth": 2, "deep_steps": 4, "layer_steps": 2, "deep_learning_rate": 0.5, "dual_prior_images": 3}
    return TrainingSettings.resolve(FAMILY, strategy=strategy, **{**values, "image_concept": True, **chosen})


def results(folder, model=None, told=None, **chosen):
    return personalize(model or toy_model(), toy_subject(), settings(**chosen), folder, **(told or {}))


def train(folder, model=None, told=None, **chosen):
    return results(folder, model, told, **chosen)[-1].personalization


def stage(folder, **chosen) -> Stage:
    return Stage(toy_model(), toy_subject(), settings(**chosen), folder, "deep")


def class_batch(made: Stage, trainable, step: int = 0) -> tuple[Batch, float]:
    return made._batches(trainable)(step)[1]


def class_folder(folder):
    return next(folder.glob("class-pictures-*"))


# ---------------------------------------------------------------- the context


def test_the_distance_is_counted_in_units_of_each_layer():
    learned = torch.zeros(2, 1, 4)
    assert context_distance(learned) == 0
    learned[0, 0] = torch.tensor([3.0, 4.0, 0.0, 0.0])
    learned[1, 0, 2] = 1.0
    assert context_distance(learned) == 3  # the mean of 5 and 1


def test_the_distance_has_a_gradient_at_the_start_too():
    """Where a norm has none: a NaN would end the training in its first step."""
    learned = torch.zeros(2, 1, 4, requires_grad=True)
    context_distance(learned).backward()
    assert torch.equal(learned.grad, torch.zeros(2, 1, 4))


def test_a_concept_stays_nearer_to_its_start_the_more_it_is_held(tmp_path):
    distances = []
    for weight in (0.0, 0.05, 5.0):
        concept = train(tmp_path, context_weight=weight, deep_steps=12, deep_learning_rate=0.05)
        distances.append((concept.concept - concept.origin)[:, 1].norm().item())
    assert distances[0] > distances[1] > distances[2]


# ---------------------------------------------------------------- the class


def test_class_pictures_have_the_image_concept_and_no_identifier(tmp_path):
    made = stage(tmp_path, **BOTH)
    batch, weight = class_batch(made, made._new_trainable())
    first = made.model.protocol.identifier_base
    assert weight == 0.3 and (batch.ids == first + 1).sum(1).tolist() == [1, 1] and not (batch.ids == first).any()
    subjects_own, _ = made._batches(made._new_trainable())(0)[0]
    assert (subjects_own.ids == first + 1).sum(1).tolist() == [1, 1]
    place = made.model.protocol.concept_position() - 1
    width = (batch.ids[0] == made.model.protocol.image_start).nonzero().item() + 3
    assert batch.ids[0, :width][place] == first + 1  # where it stands in the subject's prompts


def test_a_gradient_reaches_the_image_vectors_alone(tmp_path):
    made = stage(tmp_path, **BOTH)
    trainable = made._new_trainable()
    batch, _ = class_batch(made, trainable)
    trainable.image_vectors.data.normal_()
    concepts = trainable.concepts(made.model.protocol.identifier_base)
    (image_code_loss(made.model.transformer, batch, concepts) + made._penalty(trainable)()).backward()
    assert not trainable.vectors.grad.any()
    assert trainable.image_vectors.grad.abs().amax((1, 2)).all()  # in every layer
    assert all(parameter.grad is None for parameter in made.model.transformer.parameters())


def test_a_model_without_the_concept_diverges_by_nothing(tmp_path):
    made = stage(tmp_path, **BOTH)
    trainable = made._new_trainable()
    batch, _ = class_batch(made, trainable)
    protocol = made.model.protocol
    first = protocol.identifier_base
    kept = torch.ones_like(batch.ids[0], dtype=torch.bool)
    kept[(batch.ids[0] == first + 1).nonzero()] = False
    plain = Batch(batch.ids[:, kept], batch.targets[:, kept])
    loss = image_code_loss(made.model.transformer, plain, None)
    both = image_code_loss(made.model.transformer, replace(plain, frozen=batch.frozen), None)
    torch.testing.assert_close(both, loss / 2)
    with_concept = image_code_loss(made.model.transformer, batch, trainable.concepts(first))
    alone = image_code_loss(made.model.transformer, replace(batch, frozen=None), trainable.concepts(first))
    assert with_concept > alone / 2 + 1e-3


def test_the_divergence_is_that_of_all_codes_where_all_but_one_are_kept():
    torch.manual_seed(0)
    frozen, current = torch.randn(2, 3, 5, 12).unbind()
    whole = torch.nn.functional.kl_div(
        current.log_softmax(-1).flatten(0, 1),
        frozen.log_softmax(-1).flatten(0, 1),
        reduction="batchmean",
        log_target=True,
    )
    torch.testing.assert_close(TopCodes.of(frozen, 11).divergence(current.flatten(0, 1)), whole)
    torch.testing.assert_close(TopCodes.of(frozen, 99).divergence(current.flatten(0, 1)), whole)
    fewer = [TopCodes.of(frozen, count).divergence(current.flatten(0, 1)).item() for count in (1, 4, 8)]
    assert 0 < fewer[0] < fewer[1] < fewer[2] < whole  # a lower bound
    assert TopCodes.of(frozen, 4).divergence(frozen.flatten(0, 1)) == 0


@torch.no_grad()
def test_what_is_kept_is_what_the_frozen_model_says(tmp_path):
    made = stage(tmp_path, **BOTH)
    trainable = made._new_trainable()
    batch, _ = class_batch(made, trainable)
    model = made.model
    prompt = model.protocol.prompt("a photo of a dog", SIZE)
    codes = made._class_pictures(3)
    shown = [codes.flatten(1).tolist().index(row[row >= 0].tolist()) for row in batch.targets]
    for picture, codes_kept, numbers in zip(shown, batch.frozen.codes, batch.frozen.log_probabilities, strict=True):
        sequence = prompt + model.protocol.image_block(codes[picture].tolist(), SIZE)
        hidden = model.base(model.base.embed(torch.tensor([sequence])))[0]
        is_code = [i for i, token in enumerate(sequence) if 0 <= token - model.protocol.code_base < 1024]
        expected = model.base.image_logits(hidden[[i - 1 for i in is_code]]).softmax(-1)
        assert codes_kept.shape == (16, KEPT_CODES)
        torch.testing.assert_close(numbers[:, :-1].exp(), expected.gather(1, codes_kept.long()))
        torch.testing.assert_close(numbers.exp().sum(1), torch.ones(16))


def test_class_pictures_and_what_is_expected_of_them_are_made_once(tmp_path):
    told = []

    def messages(**chosen) -> set[str]:
        told.clear()
        train(tmp_path, told={"progress": lambda done, total, text: told.append(text)}, **chosen)
        return {text for text in told if "class images" in text}

    everything = {"drawing class images", "reading class images"}
    assert messages(**BOTH) == everything
    before = (class_folder(tmp_path) / f"{NAME}.safetensors").read_bytes()
    assert not messages(**BOTH, depth=1)  # another training of the class
    assert not messages(**BOTH, dual_prior_images=2)
    assert (class_folder(tmp_path) / f"{NAME}.safetensors").read_bytes() == before
    assert messages(**BOTH, dual_prior_images=4) == everything
    assert told.count("reading class images") == 1  # the fourth
    assert len(list(tmp_path.glob("class-pictures-*"))) == 1


def test_prior_preservation_of_the_layers_takes_the_same_pictures(tmp_path):
    train(tmp_path, strategy="deep_two_stage", **BOTH, prior_preservation=True, prior_images=3)
    assert len(list(tmp_path.glob("class-pictures-*"))) == 1


@pytest.mark.parametrize("damage", ["cut", "other pictures", "other shape"])
def test_a_damaged_file_is_made_again(damage, tmp_path, caplog):
    from safetensors.torch import load_file, save_file

    whole = train(tmp_path / "whole", **BOTH)
    train(tmp_path / "parts", **BOTH, deep_steps=2)
    path = class_folder(tmp_path / "parts") / f"{NAME}.safetensors"
    tensors = load_file(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    if damage == "other pictures":
        save_file({**tensors, "pictures": tensors["pictures"] + 1}, path)
    if damage == "other shape":
        save_file({**tensors, "codes": tensors["codes"][..., 1:].contiguous()}, path)
    assert torch.equal(train(tmp_path / "parts", **BOTH).concept, whole.concept)
    assert "was set aside" in caplog.text


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", **BOTH)
    write = runs.write_tensors

    def full(path, *arguments, **more):
        if path.stem == NAME:
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **more)

    with monkeypatch.context() as disk:
        disk.setattr(runs, "write_tensors", full)
        with pytest.raises(OSError, match="No space left"):
            train(tmp_path / "full", **BOTH)
    assert not list(class_folder(tmp_path / "full").glob(f"{NAME}*"))
    assert torch.equal(train(tmp_path / "full", **BOTH).concept, whole.concept)


# ---------------------------------------------------------------- trainings


def test_weights_of_zero_are_a_training_without(tmp_path):
    plain = results(tmp_path / "plain")[-1]
    zero = results(tmp_path / "zero", context_weight=0.0, dual_prior_weight=0.0, dual_prior_images=5)[-1]
    assert zero.run.name == plain.run.name
    assert torch.equal(zero.personalization.concept, plain.personalization.concept)
    assert zero.losses == plain.losses and zero.personalization.recipe == plain.personalization.recipe
    assert not {*BOTH, "dual_prior_images"} & set(plain.personalization.recipe)
    assert not list((tmp_path / "zero").glob("class-pictures-*"))


def test_each_weight_is_another_training(tmp_path):
    chosen = ({}, {"context_weight": 0.1}, {"dual_prior_weight": 0.1}, BOTH, {**BOTH, "dual_prior_images": 2})
    concepts = [train(tmp_path, **one).concept for one in chosen]
    assert len(list(tmp_path.glob("dog-deep-*"))) == len(chosen)
    assert all(not torch.equal(a, b) for n, a in enumerate(concepts) for b in concepts[:n])


def test_learning_goes_on_where_it_was_stopped(tmp_path):
    whole = train(tmp_path / "whole", **BOTH, deep_steps=6)
    train(tmp_path / "parts", **BOTH, deep_steps=3)
    assert torch.equal(train(tmp_path / "parts", **BOTH, deep_steps=6).concept, whole.concept)
    for asked in range(9):  # times that it may go on: while pictures are drawn or read, and between steps
        stopped = tmp_path / f"cancelled {asked}"
        answers = iter([False] * asked)
        with pytest.raises(Cancelled):
            train(stopped, told={"cancel": lambda: next(answers, True)}, **BOTH, deep_steps=6)  # noqa: B023
        assert torch.equal(train(stopped, **BOTH, deep_steps=6).concept, whole.concept)


def test_forgotten_class_pictures_are_drawn_again_the_same(tmp_path):
    whole = train(tmp_path / "whole", **BOTH, deep_steps=4)
    train(tmp_path / "parts", **BOTH, deep_steps=2)
    for path in class_folder(tmp_path / "parts").iterdir():
        if path.is_file():
            path.unlink()
    assert torch.equal(train(tmp_path / "parts", **BOTH, deep_steps=4).concept, whole.concept)


def test_parts_of_a_batch_weigh_as_the_whole(tmp_path):
    whole = train(tmp_path, **BOTH)
    parts = train(tmp_path, **BOTH, micro_batch=1)
    torch.testing.assert_close(parts.concept, whole.concept, atol=2e-3, rtol=1e-3)


def test_the_layers_are_learned_on_top_as_ever(tmp_path):
    alone = train(tmp_path, **BOTH)
    both = results(tmp_path, strategy="deep_two_stage", **BOTH)
    assert both[0].note == "remembered"  # the same first stage
    learned = both[-1].personalization
    assert learned.adapter is not None and torch.equal(learned.concept, alone.concept)
    assert learned.recipe["context_weight"] == 0.05 and learned.recipe["dual_prior_images"] == 3


def test_a_quantized_model_learns(tmp_path):
    model = quantized_toy("int8")
    held = train(tmp_path, model=model, **BOTH)
    assert not torch.equal(held.concept, train(tmp_path, model=model).concept)
    assert len(list(tmp_path.glob("class-pictures-*"))) == 1


def test_janus_learns(tmp_path):
    model = toy_janus.toy_model()
    chosen = TrainingSettings.resolve(
        model.family, strategy="deep", depth=2, deep_steps=2, image_concept=True, dual_prior_images=2, **BOTH
    )
    held = personalize(model, toy_janus.toy_subject(), chosen, tmp_path)[-1]
    assert all(loss > 0 for loss in held.losses)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("chosen", [{"strategy": "two_stage"}, {"image_concept": False}])
def test_without_an_image_concept_there_is_nothing_to_hold(name, chosen):
    with pytest.raises(ValueError, match=f"{name} is 0.1, and there is no image concept"):
        settings(**chosen, **{name: 0.1})
    assert settings(**chosen, **{name: 0.0}).dual_prior_weight == 0


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", BOTH)
def test_a_weight_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be a number of 0 or more"):
        settings(**{name: value})


def test_the_published_weights_are_those_of_the_published_families():
    published = replace(FAMILY, recipe=replace(FAMILY.recipe, deep=PAPER_RECIPE.deep))
    found = TrainingSettings.resolve(published, strategy="deep")
    assert (found.context_weight, found.dual_prior_weight, found.dual_prior_images) == (5e-4, 1e-2, 8)
    text_alone = TrainingSettings.resolve(published, strategy="deep", image_concept=False)
    assert text_alone.context_weight == text_alone.dual_prior_weight == 0
    assert "dual_prior_images" not in text_alone.describe()


def test_weights_for_a_whole_table_are_those_of_the_variants_that_can_have_them():
    chosen = {"context_weight": 0.2, "dual_prior_weight": 0.1}
    for name in ("two_stage", "deep"):
        assert VARIANTS[name].settings(FAMILY, 0, chosen) == VARIANTS[name].settings(FAMILY, 0, {})
    assert VARIANTS["deep_two_stage"].settings(FAMILY, 0, chosen) == VARIANTS["deep_two_stage"].settings(FAMILY, 0, {})
    held = VARIANTS["deep_two_stage"].settings(FAMILY, 0, {**chosen, "image_concept": True})
    assert (held.context_weight, held.dual_prior_weight) == (0.2, 0.1)


def test_a_file_says_of_stage_one_what_stage_one_was(tmp_path):
    """Not what the recipe of a family that publishes weights says of it."""
    start = train(tmp_path, image_concept=False)
    asked = settings("deep_two_stage", image_concept=True, **BOTH)
    learned = Stage(toy_model(), toy_subject(), asked, tmp_path, "layers", start).train(2).personalization
    assert not learned.recipe["image_concept"] and not {*BOTH, "dual_prior_images"} & set(learned.recipe)


def test_the_artists_recipe_learns_a_deep_concept_from_as_many_pairs_as_published():
    for recipe in (PAPER_RECIPE, ARTIST_RECIPE):
        assert recipe.deep.steps * recipe.batch_size == 1000


def test_comparing_takes_memory_that_is_planned_with():
    model = toy_model()
    asked = {"micro_batch": 0, "batch_size": 2}
    room = Passes(2, False).bytes(model, settings(**asked), "deep")  # for both pairs at once, where nothing is compared
    assert fitting_passes(model, settings(**asked), "deep", room) == Passes(2, False)
    assert fitting_passes(model, settings(**asked, **BOTH), "deep", room) != Passes(2, False)
    assert fitting_passes(model, settings(**asked, **BOTH), "layers", room) == fitting_passes(
        model, settings(**asked), "layers", room
    )


def test_variants_differ_in_what_holds_the_image_concept():
    names = ("deep_image", "deep_image_casr", "deep_image_dpp", "deep_image_both")
    found = [VARIANTS[name].settings(FAMILY, 0, {}) for name in names]
    assert [(s.context_weight > 0, s.dual_prior_weight > 0) for s in found] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert all(s.image_concept and s.deep_steps == found[0].deep_steps for s in found)
