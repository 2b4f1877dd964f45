import logging
import math
import os
import signal
from dataclasses import dataclass, fields, replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from toy import FAMILY, toy_model, toy_subject

from ar_core import devices, memory
from ar_core.commands.interruption import keyboard_interrupts
from ar_core.control import Cancelled, never, silent
from ar_core.model import ARModel
from ar_core.personalization import Personalization, PersonalizationError
from ar_core.photos import Photo
from ar_core.sampling import SamplingSettings
from ar_core.text import Identifier
from ar_core.training import TrainingSettings, identity, personalize, prepare_subject, runs, stages
from ar_core.training.examples import Examples
from ar_core.training.loop import Loop, TrainingDiverged
from ar_core.training.remembered import forget_runs, remembered_runs
from ar_core.training.runs import Run
from ar_core.training.settings import EMBEDDING, JOINT, LAYERS, STAGES, STRATEGIES
from ar_core.training.stages import Stage, sampled_steps
from ar_core.training.trainable import initial_vectors, median_norm

SUBJECT = toy_subject()


def settings(**chosen):
    return TrainingSettings.resolve(FAMILY, **{"embedding_steps": 4, "layer_steps": 3, "rank": 2, **chosen})


def run(root, stage=EMBEDDING, steps=4, model=None, cancel=never, progress=silent, start=None, samples=0, **chosen):
    model = model or toy_model()
    options = {"progress": progress, "cancel": cancel, "samples": samples}
    return Stage(model, SUBJECT, settings(**chosen), root, stage, start, **options).train(steps)


def learned(result):
    tensors = [result.personalization.vectors]
    return tensors + (
        [p.detach() for p in result.personalization.adapter.parameters()] if result.personalization.adapter else []
    )


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(learned(a), learned(b), strict=True))


@pytest.mark.parametrize("strategy, stages", [("two_stage", 2), ("embedding_only", 1), ("joint", 1)])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_every_strategy_lowers_the_loss_and_leaves_the_base_alone(tmp_path, strategy, stages, method):
    model = toy_model()
    before = {k: v.clone() for k, v in model.transformer.state_dict().items()}
    results = personalize(
        model,
        SUBJECT,
        settings(strategy=strategy, method=method, embedding_steps=30, layer_steps=20, layer_learning_rate=1e-2),
        tmp_path,
    )
    assert len(results) == stages
    assert min(results[-1].losses[-3:]) < results[0].losses[0] - 0.05
    assert all(torch.equal(v, before[k]) for k, v in model.transformer.state_dict().items())
    assert not any(p.requires_grad for p in model.transformer.parameters())


def test_stage_two_keeps_the_vectors_of_stage_one(tmp_path):
    first, second = personalize(toy_model(), SUBJECT, settings(), tmp_path)
    assert torch.equal(first.personalization.vectors, second.personalization.vectors)
    assert any(p.abs().sum() > 0 for p in second.personalization.adapter.up)


@pytest.mark.parametrize("stage", [EMBEDDING, JOINT])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, stage):
    whole = run(tmp_path / "a", stage, 6)
    count = 0

    def cancel():
        nonlocal count
        count += 1
        return count > 3

    with pytest.raises(Cancelled, match="after 3 of 6 steps"):
        run(tmp_path / "b", stage, 6, cancel=cancel)
    resumed = run(tmp_path / "b", stage, 6)
    assert resumed.note == "went on from step 3"
    assert same(whole, resumed) and whole.losses == resumed.losses


class Interruption(BaseException):
    """As ComfyUI's since 0.8: not an Exception, raised inside any layer's forward."""


def interrupted_after(calls: int, module: torch.nn.Module):
    """A hook that raises in the forward of `module` once it was called `calls` times."""
    seen = []

    def hook(*_):
        seen.append(1)
        if len(seen) > calls:
            handle.remove()
            raise Interruption

    handle = module.register_forward_hook(hook)
    return handle


@pytest.mark.parametrize("stage", [EMBEDDING, LAYERS, JOINT])
@pytest.mark.parametrize("calls", [0, 3, 5])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_interruption_inside_a_layer_saves_and_the_rest_equals_uninterrupted(tmp_path, stage, calls, checkpointing):
    """With gradient checkpointing layers also run in backward."""
    start = run(tmp_path / "start").personalization if stage == LAYERS else None
    chosen = {"gradient_checkpointing": checkpointing, "start": start}
    whole = run(tmp_path / "a", stage, 6, **chosen)
    model = toy_model()
    interrupted_after(calls, model.transformer.model.layers[0].self_attn.q_proj)
    with pytest.raises(Interruption):
        run(tmp_path / "b", stage, 6, model=model, **chosen)
    done = calls // (2 if checkpointing else 1)
    resumed = run(tmp_path / "b", stage, 6, **chosen)
    assert resumed.note == f"went on from step {done}"
    assert same(whole, resumed) and whole.losses == resumed.losses


def test_an_interruption_inside_the_optimizers_step_saves_nothing_half_done(tmp_path, monkeypatch):
    whole = run(tmp_path / "a", JOINT, 6)
    update = Loop._update

    def interrupted(self, total):
        loss = update(self, total)
        if self.step == 3:
            raise Interruption  # the values are new, the step is not counted
        return loss

    monkeypatch.setattr(Loop, "_update", interrupted)
    with pytest.raises(Interruption):
        run(tmp_path / "b", JOINT, 6)
    monkeypatch.undo()
    resumed = run(tmp_path / "b", JOINT, 6)
    assert same(whole, resumed) and whole.losses == resumed.losses


@pytest.mark.parametrize("where", ["progress", "cancel", "before the optimizer"])
def test_an_interruption_from_anywhere_else_loses_no_step(tmp_path, monkeypatch, where):
    whole = run(tmp_path / "a", JOINT, 6)
    calls = []

    def interrupt(*_):
        calls.append(1)
        if len(calls) == 4:
            raise Interruption

    options = {}
    if where == "progress":
        options["progress"] = interrupt
    elif where == "cancel":
        options["cancel"] = interrupt
    else:
        clip = torch.nn.utils.clip_grad_norm_
        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *a, **o: (interrupt(), clip(*a, **o))[1])
    with pytest.raises(Interruption):
        run(tmp_path / "b", JOINT, 6, **options)
    monkeypatch.undo()
    resumed = run(tmp_path / "b", JOINT, 6)
    assert resumed.note == f"went on from step {4 if where == 'progress' else 3}"
    assert same(whole, resumed) and whole.losses == resumed.losses


@pytest.mark.parametrize("steps", [6, 9])
def test_a_result_that_was_saved_but_not_kept_is_kept_by_the_next_run(tmp_path, monkeypatch, steps):
    """As where the process was killed in between, at the last step or at one on the way."""
    monkeypatch.setattr(stages, "KEEP_EVERY", {EMBEDDING: 6, LAYERS: 6, JOINT: 6})
    whole = run(tmp_path / "a", JOINT, steps, samples=3)
    keep = Run.keep

    def killed(self, step, trainable):
        raise Interruption

    monkeypatch.setattr(Run, "keep", killed)
    with pytest.raises(Interruption):
        run(tmp_path / "b", JOINT, steps, samples=3)
    monkeypatch.setattr(Run, "keep", keep)
    resumed = run(tmp_path / "b", JOINT, steps, samples=3)
    assert same(whole, resumed) and resumed.samples.keys() == whole.samples.keys()
    assert run(tmp_path / "b", JOINT, steps, samples=3).note == "remembered"


def test_losses_are_remembered_to_the_last_bit(tmp_path):
    """Those of a batch in parts are sums that float32 does not hold."""
    whole = run(tmp_path / "a", JOINT, 4, micro_batch=1)
    run(tmp_path / "b", JOINT, 2, micro_batch=1)
    assert run(tmp_path / "b", JOINT, 4, micro_batch=1).losses == whole.losses


def test_what_is_collected_is_saved_on_the_way_and_an_error_arrives_where_saving_fails(tmp_path, monkeypatch):
    saved = []
    remember = Run.remember
    monkeypatch.setattr(Run, "remember", lambda self, *a: (saved.append(a[0]), remember(self, *a))[1])
    place = Run(tmp_path, "photos", {"of": "a dog"})

    def parts(done):
        for number in range(done, 3):
            yield torch.full((1, 1, 2), number)

    grid = runs.Grid(1, 2, 8)
    whole = runs.collect_remembered(place, "codes", grid, 3, parts, seconds=0)
    assert whole[:, 0, 0].tolist() == [0, 1, 2]
    assert saved == ["codes-unfinished"] * 3 + ["codes"]

    def stopped(done):
        yield torch.zeros(1, 1, 2, dtype=torch.long)
        raise Interruption

    monkeypatch.setattr(Run, "remember", lambda *_: 1 / 0)
    with pytest.raises(Interruption):
        runs.collect_remembered(Run(tmp_path, "photos", {"of": "a cat"}), "codes", grid, 2, stopped)


def test_an_interruption_arrives_even_where_saving_fails(tmp_path, monkeypatch):
    model = toy_model()
    interrupted_after(2, model.transformer.model.layers[0])
    monkeypatch.setattr(Run, "save", lambda self, state: 1 / 0)
    with pytest.raises(Interruption):
        run(tmp_path, model=model)


def test_reading_photos_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    photos = [Photo(str(i), Image.new("RGB", (40, 40), (60 * i, 90, 200 - 60 * i))) for i in range(3)]
    expected = prepare_subject(toy_model(), photos, "dog")
    read, encode = [], ARModel.encode

    def counted(self, images):
        if len(read) == 4:
            read.append("stopped")
            raise Interruption
        read.append(1)
        return encode(self, images)

    monkeypatch.setattr(ARModel, "encode", counted)
    with pytest.raises(Interruption):
        prepare_subject(toy_model(), photos, "dog", runs=tmp_path)
    read[:] = []
    read += ["resumed"]
    subject = prepare_subject(toy_model(), photos, "dog", runs=tmp_path)
    assert len(read) == 1 + 6 - 4 and torch.equal(subject.codes, expected.codes)
    assert not list(tmp_path.rglob("*unfinished*"))


def test_class_pictures_are_drawn_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("ar_core.batches.BATCH", 2)
    monkeypatch.setattr("ar_core.training.class_pictures.BATCH", 2)
    chosen = {"stage": JOINT, "prior_preservation": True, "prior_images": 5}
    whole = run(tmp_path / "a", **chosen)
    drawn, generate = [], ARModel.generate

    def counted(self, prompts, *arguments, **options):
        if len(drawn) == 2:
            drawn.append("stopped")
            raise Interruption
        drawn.append(len(prompts))
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(ARModel, "generate", counted)
    with pytest.raises(Interruption):
        run(tmp_path / "b", **chosen)
    resumed = run(tmp_path / "b", **chosen)
    assert drawn == [2, 2, "stopped", 1] and same(whole, resumed) and whole.losses == resumed.losses


def test_four_steps_and_two_more_are_six(tmp_path):
    whole = run(tmp_path / "a", steps=6)
    run(tmp_path / "b", steps=4)
    assert same(whole, run(tmp_path / "b", steps=6))


def test_finished_work_is_returned_without_a_step(tmp_path):
    first = run(tmp_path)
    calls = []
    again = run(tmp_path, progress=lambda *a: calls.append(a))
    assert again.note == "remembered" and not calls
    assert same(first, again) and first.losses == again.losses


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.mark.parametrize("stage", [EMBEDDING, LAYERS, JOINT])
@pytest.mark.parametrize("order", [(6, 3, 5), (6, 5, 3), (3, 6, 5), (5, 6, 3, 2), (2, 6, 4, 3)])
def test_steps_give_the_same_whatever_order_they_are_asked_in(tmp_path, stage, order):
    start = run(tmp_path / "start").personalization if stage == LAYERS else None
    for steps in order:
        asked = run(tmp_path / "all", stage, steps, start=start)
        fresh = run(tmp_path / str(steps), stage, steps, start=start)
        assert asked.step == steps and same(asked, fresh) and asked.losses == fresh.losses
    before = files_of(asked.run)
    for steps in order:
        assert run(tmp_path / "all", stage, steps, start=start).note == "remembered"
    assert files_of(asked.run) == before


def test_fewer_steps_go_on_from_the_newest_state_that_is_not_past_them_and_leave_the_newest(tmp_path):
    run(tmp_path, JOINT, 2)
    folder = run(tmp_path, JOINT, 6).run
    before = files_of(folder)
    assert run(tmp_path, JOINT, 4).note == "went on from step 2"  # the reserve
    assert run(tmp_path, JOINT, 5).note == "went on from step 4"
    assert run(tmp_path, JOINT, 1).note == "trained"
    assert before.items() <= files_of(folder).items()
    assert run(tmp_path, JOINT, 7).note == "went on from step 6"


def test_two_stages_build_on_exactly_the_embedding_that_was_asked_for(tmp_path):
    chosen = [{"embedding_steps": 6, "layer_steps": 4}, {"embedding_steps": 3, "layer_steps": 2}]
    for asked in chosen:
        ended = personalize(toy_model(), SUBJECT, settings(**asked), tmp_path / "all")
        fresh = personalize(toy_model(), SUBJECT, settings(**asked), tmp_path / str(asked["layer_steps"]))
        assert [result.step for result in ended] == [asked["embedding_steps"], asked["layer_steps"]]
        assert all(map(same, ended, fresh))


@pytest.mark.parametrize("ending", ["cancelled", "interrupted"])
def test_going_back_that_is_stopped_loses_nothing_and_goes_on(tmp_path, ending):
    fresh = run(tmp_path / "fresh", JOINT, 5)
    folder = run(tmp_path / "all", JOINT, 8).run
    before = files_of(folder)
    if ending == "cancelled":
        turns = iter((False, False, False, True))
        with pytest.raises(Cancelled, match="after 3 of 5 steps; they are kept"):
            run(tmp_path / "all", JOINT, 5, cancel=lambda: next(turns))
    else:
        model = toy_model()
        interrupted_after(3, model.transformer.model.layers[0])
        with pytest.raises(Interruption):
            run(tmp_path / "all", JOINT, 5, model=model)
    assert before.items() <= files_of(folder).items()
    resumed = run(tmp_path / "all", JOINT, 5)
    assert resumed.note == "went on from step 3" and same(resumed, fresh) and resumed.losses == fresh.losses
    assert run(tmp_path / "all", JOINT, 8).note == "remembered" and before.items() <= files_of(folder).items()


@pytest.mark.parametrize("name", ["state.safetensors", "state.previous.safetensors", "state.earlier.safetensors"])
def test_a_damaged_state_changes_nothing_for_fewer_steps(tmp_path, name):
    fresh = run(tmp_path / "fresh", JOINT, 5)
    for steps in (4, 8, 3):
        folder = run(tmp_path / "all", JOINT, steps).run
    (folder / name).write_bytes(b"torn")
    assert same(run(tmp_path / "all", JOINT, 5), fresh)


def test_samples_of_fewer_steps_are_those_of_a_training_of_so_many(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "KEEP_EVERY", {EMBEDDING: 2, LAYERS: 2, JOINT: 2})
    fresh = run(tmp_path / "fresh", JOINT, 5, samples=3)
    run(tmp_path / "all", JOINT, 8, samples=3)
    back = run(tmp_path / "all", JOINT, 5, samples=3)
    assert back.samples.keys() == fresh.samples.keys() == {2, 4, 5}
    assert all(torch.equal(back.samples[step], codes) for step, codes in fresh.samples.items())


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"embedding_learning_rate": 0.02}, {"vectors": 2}, {"initialisation": "random"}, {"batch_size": 3}],
)
def test_what_determines_a_run_starts_another(tmp_path, change):
    assert run(tmp_path, steps=1).run != run(tmp_path, steps=1, **change).run


@pytest.mark.parametrize("change", [{"layer_learning_rate": 0.5}, {"rank": 3}, {"method": "full"}, {"layer_steps": 9}])
def test_what_does_not_determine_stage_one_does_not_repeat_it(tmp_path, change):
    run(tmp_path, steps=1)
    assert run(tmp_path, steps=1, **change).note == "remembered"


def test_other_photos_class_base_or_stage_one_start_another_run(tmp_path):
    model, chosen = toy_model(), settings()
    folders = {
        Stage(model, s, chosen, tmp_path, EMBEDDING).train(1).run
        for s in (SUBJECT, replace(SUBJECT, source="x"), replace(SUBJECT, class_name="cat"))
    }
    folders.add(Stage(toy_model(seed=1), SUBJECT, chosen, tmp_path, EMBEDDING).train(1).run)
    one, two = run(tmp_path, steps=1).personalization, run(tmp_path, steps=2).personalization
    folders |= {run(tmp_path, LAYERS, 1, start=one).run, run(tmp_path, LAYERS, 1, start=two).run}
    assert len(folders) == 6


def test_other_photos_or_other_views_of_them_are_another_subject():
    model = toy_model()
    photos = [Photo("a", Image.new("RGB", (40, 40), "red")), Photo("b", Image.new("RGB", (40, 40), "blue"))]
    shifted = replace(model, family=replace(FAMILY, recipe=replace(FAMILY.recipe, view_shift=0.1)))
    sources = [
        prepare_subject(m, p, "dog").source
        for m, p in ((model, photos), (model, photos), (shifted, photos), (model, photos[:1]))
    ]
    assert sources[0] == sources[1] and len(set(sources)) == 3


def test_codes_are_remembered_and_forgotten_with_the_runs(tmp_path):
    model, photos = toy_model(), [Photo("a", Image.new("RGB", (40, 40), "red"))]
    calls = []
    first = prepare_subject(model, photos, "dog", runs=tmp_path, progress=lambda *a: calls.append(a))
    again = prepare_subject(model, photos, "cat", runs=tmp_path, progress=lambda *a: calls.append(a))
    assert len(calls) == len(first.codes) == 2 and torch.equal(first.codes, again.codes)
    assert forget_runs(tmp_path) == 1


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path):
    whole = run(tmp_path / "a", steps=6)
    run(tmp_path / "b", steps=2)
    folder = run(tmp_path / "b", steps=4).run
    (folder / "state.safetensors").write_bytes(b"torn")
    resumed = run(tmp_path / "b", steps=6)
    assert resumed.note == "went on from step 2" and same(whole, resumed)


def test_damaged_codes_are_made_again(tmp_path):
    model = toy_model()
    photos = [Photo("a", Image.new("RGB", (40, 40), "red"))]
    first = prepare_subject(model, photos, "dog", runs=tmp_path)
    [path] = tmp_path.rglob("codes.safetensors")
    path.write_bytes(b"torn")
    again = prepare_subject(model, photos, "dog", runs=tmp_path)
    assert torch.equal(first.codes, again.codes) and path.read_bytes() != b"torn"


def test_the_log_says_why_a_training_begins_goes_on_or_is_remembered(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="ar_core.training")
    count = 0

    def cancel():
        nonlocal count
        count += 1
        return count > 2

    with pytest.raises(Cancelled):
        run(tmp_path, steps=4, cancel=cancel)
    folder = run(tmp_path, steps=4).run
    run(tmp_path, steps=4)
    (folder / "state.safetensors").write_bytes(b"torn")
    run(tmp_path, steps=5)
    said = [record.getMessage() for record in caplog.records if record.name == "ar_core.training.stages"]
    assert said == [
        f"embedding: nothing is remembered in {folder}, training begins",
        f"embedding: went on from step 2 of {folder}",
        f"embedding: remembered, in {folder}",
        f"embedding: went on from step 2 of {folder}",
    ]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned and all("state.safetensors is damaged" in line for line in warned)


def test_the_identifiers_name_does_not_matter_to_training(tmp_path):
    first = Stage(toy_model(), SUBJECT, settings(), tmp_path, EMBEDDING, identifier="[V]").train(2)
    second = Stage(toy_model(), SUBJECT, settings(), tmp_path, EMBEDDING, identifier="[sks]").train(2)
    assert second.note == "remembered" and second.personalization.identifier == "[sks]" and same(first, second)


def test_non_finite_steps_stop_training_at_the_last_good_state(tmp_path, monkeypatch):
    from ar_core.training import loop

    good = run(tmp_path, steps=2)
    real = loop.image_code_loss
    monkeypatch.setattr(loop, "image_code_loss", lambda *a: real(*a) * float("nan"))
    with pytest.raises(TrainingDiverged, match="newest saved step is 2.*lower learning rate"):
        run(tmp_path, steps=9)
    monkeypatch.undo()
    assert same(good, run(tmp_path, steps=2))


@pytest.mark.parametrize("steps", [1, 3])
def test_a_training_in_which_no_step_was_learned_has_no_result(tmp_path, monkeypatch, steps):
    """Too few to be given up earlier."""
    monkeypatch.setattr(Loop, "_gradients", lambda self: math.nan)
    with pytest.raises(TrainingDiverged, match=f"not finite in {steps} steps in a row.*or with lower weights"):
        run(tmp_path, steps=steps)
    monkeypatch.undo()
    assert run(tmp_path, steps=steps).note == "trained"


def test_a_seed_that_torch_does_not_take_is_refused():
    for seed in (-(2**63) - 1, 2**64, 99999999999999999999):
        with pytest.raises(ValueError, match=f"seed is {seed}; it must be from -9223372036854775808 to 184"):
            settings(seed=seed)
    for seed in (-(2**63), -1, 2**64 - 1):
        torch.Generator().manual_seed(settings(seed=seed, per_image_token=False).seed)
    with pytest.raises(ValueError, match="to 18446744073709551614"):
        settings(seed=2**64 - 1, per_image_token=True)


def test_a_training_whose_last_step_was_skipped_is_remembered_too(tmp_path, monkeypatch):
    gradients = Loop._gradients
    monkeypatch.setattr(Loop, "_gradients", lambda self: math.nan if self.step == 3 else gradients(self))
    first = run(tmp_path, JOINT, 4)
    again = run(tmp_path, JOINT, 4)
    assert again.note == "remembered" and same(first, again) and len(again.losses) == 4


@pytest.mark.parametrize("content", [b"damaged", None])
def test_a_damaged_remembered_result_is_learned_again(tmp_path, content):
    first = run(tmp_path, JOINT, 4)
    kept = first.run / "steps" / "000004.safetensors"
    if content is None:
        kept.unlink()
    else:
        kept.write_bytes(content)
    again = run(tmp_path, JOINT, 4)
    assert same(first, again) and run(tmp_path, JOINT, 4).note == "remembered"


def test_one_non_finite_step_is_skipped(tmp_path, monkeypatch):
    from ar_core.training import loop

    real, calls = loop.image_code_loss, []

    def sometimes(*a):
        calls.append(1)
        return real(*a) * (float("inf") if len(calls) == 2 else 1.0)

    monkeypatch.setattr(loop, "image_code_loss", sometimes)
    result = run(tmp_path, steps=4)
    assert result.step == 4 and result.losses[1] != result.losses[1]
    assert torch.isfinite(result.personalization.vectors).all()


def test_a_personalized_model_is_not_trained_again(tmp_path):
    model = toy_model()
    applied = model.personalized(run(tmp_path).personalization)
    with pytest.raises(PersonalizationError, match=r"already personalized \(\[V\]\)"):
        run(tmp_path, model=applied)


def test_training_works_inside_inference_mode(tmp_path):
    outside = run(tmp_path / "a", JOINT, 2)
    with torch.inference_mode():
        inside = run(tmp_path / "b", JOINT, 2)
    assert same(outside, inside)


def test_gradient_checkpointing_changes_nothing_and_is_no_other_run(tmp_path):
    plain = run(tmp_path / "a", JOINT, 3)
    saving = run(tmp_path / "b", JOINT, 3, gradient_checkpointing=True)
    assert same(plain, saving) and plain.run.name == saving.run.name


def test_prior_preservation_adds_the_class_and_draws_its_images_once(tmp_path):
    plain = run(tmp_path, JOINT, 2)
    with_prior = run(tmp_path, JOINT, 2, prior_preservation=True)
    assert with_prior.losses[0] > plain.losses[0]
    assert len(list(tmp_path.glob("class-pictures-*/prior.safetensors"))) == 1
    messages = []
    told = {"progress": lambda *a: messages.append(a[2]), "prior_preservation": True}
    run(tmp_path, JOINT, 3, **told)
    run(tmp_path, LAYERS, 2, start=run(tmp_path, prior_preservation=True).personalization, **told)
    assert not [m for m in messages if "class images" in m]


def test_prior_preservation_is_no_part_of_stage_one(tmp_path):
    """The class's prompt holds no learned vector: its loss has no gradient there."""
    plain = run(tmp_path)
    messages = []
    again = run(tmp_path, prior_preservation=True, prior_images=7, progress=lambda *a: messages.append(a[2]))
    assert again.note == "remembered" and again.run == plain.run and not messages


def test_more_class_pictures_are_those_that_there_were_and_more(tmp_path):
    drawn = []
    for count in (2, 5, 3):
        folder = run(tmp_path, JOINT, 1, prior_preservation=True, prior_images=count).run.parent
        [path] = folder.glob("class-pictures-*/prior.safetensors")
        drawn.append(load_file(path)["prior"])
    assert [len(codes) for codes in drawn] == [2, 5, 5]
    assert torch.equal(drawn[1][:2], drawn[0]) and torch.equal(drawn[2], drawn[1])
    direct = run(tmp_path / "direct", JOINT, 1, prior_preservation=True, prior_images=5).run.parent
    [path] = direct.glob("class-pictures-*/prior.safetensors")
    assert torch.equal(load_file(path)["prior"], drawn[1])


def test_class_pictures_of_earlier_versions_are_used(tmp_path):
    """They lay in each training's own folder."""
    first = run(tmp_path / "a", JOINT, 2, prior_preservation=True)
    [path] = tmp_path.glob("a/class-pictures-*/prior.safetensors")
    (tmp_path / "b" / first.run.name).mkdir(parents=True)
    path.rename(tmp_path / "b" / first.run.name / "prior.safetensors")
    again = run(tmp_path / "b", JOINT, 2, prior_preservation=True)
    assert same(first, again) and not list(tmp_path.glob("b/class-pictures-*"))


def test_the_per_image_token_is_learned_but_not_part_of_the_result(tmp_path):
    plain, mixed = run(tmp_path), run(tmp_path, per_image_token=True)
    assert mixed.personalization.vectors.shape == plain.personalization.vectors.shape
    assert not torch.equal(mixed.personalization.vectors, plain.personalization.vectors)


def test_more_photos_than_tokens_for_them_are_refused(tmp_path):
    """They would take the places of tokens that mean something."""
    many = toy_subject(photos=FAMILY.identifiers)
    chosen = settings(per_image_token=True)
    with pytest.raises(PersonalizationError, match=f"room for {FAMILY.identifiers - 1} photos, and there are"):
        Stage(toy_model(), many, chosen, tmp_path, EMBEDDING)
    Stage(toy_model(), toy_subject(photos=FAMILY.identifiers - 1), chosen, tmp_path, EMBEDDING)
    Stage(toy_model(), many, chosen, tmp_path, LAYERS)  # which learns none of them


def test_batches_depend_on_seed_and_step_alone():
    def examples(seed):
        return Examples(SUBJECT, toy_model().protocol, Identifier("[V]", "dog", 1040, 1), 4, seed)

    a, b = examples(0), examples(0)
    for step in (5, 0, 5):
        assert torch.equal(a(step).ids, b(step).ids)
    assert not torch.equal(a(0).targets, examples(1)(0).targets)


def test_targets_are_exactly_the_codes_in_reading_order():
    batch = Examples(SUBJECT, toy_model().protocol, Identifier("[V]", "dog", 1040, 1), 4, 0)(0)
    for row in batch.targets:
        assert any(torch.equal(row[row >= 0], codes.flatten()) for codes in SUBJECT.codes)


def test_the_recipe_of_stage_two_says_how_its_stage_one_was_learned(tmp_path):
    """As in a graph, whose second node has no settings of the first stage."""
    first = run(tmp_path, EMBEDDING, 3, embedding_steps=3, embedding_learning_rate=0.05).personalization
    recipe = run(tmp_path, LAYERS, 2, start=first).personalization.recipe
    assert recipe["embedding_steps"] == 3 and recipe["embedding_learning_rate"] == 0.05 and recipe["steps"] == 2


def test_initial_vectors():
    model = toy_model()
    table = model.transformer.model.embed_tokens.weight
    word = initial_vectors(model.transformer, model.protocol, "dog", 2, "class", 0)
    torch.testing.assert_close(word[0], table[model.protocol.encode(" dog")].mean(0))
    assert not torch.equal(word[0], word[1])
    drawn = initial_vectors(model.transformer, model.protocol, "dog", 3, "random", 0)
    torch.testing.assert_close(drawn.norm(dim=1), torch.full((3,), median_norm(table)))


def test_what_is_too_large_is_refused_before_the_start(tmp_path, monkeypatch):
    model = toy_model()
    assert memory.trainable_parameters(model.transformer, "full", 1) == 3 * 16 * 16 * 2
    assert memory.trainable_parameters(model.transformer, "lora", 2) == 2 * (16 + 16) * 3 * 2
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: type("", (), {"available": 100})())
    with pytest.raises(memory.NotEnough, match="KiB of memory.*LoRA"):
        run(tmp_path, JOINT, 1, model=model, method="full")
    monkeypatch.undo()
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda _: type("", (), {"free": 100})())
    with pytest.raises(memory.NotEnough, match="KiB more of disk.*LoRA"):
        run(tmp_path, JOINT, 1, model=model, method="full")
    assert not remembered_runs(tmp_path)


def test_a_training_that_goes_on_needs_the_disk_that_it_does_not_have_yet(tmp_path, monkeypatch):
    """Three states at a time and the kept results, less what lies there; and a lower rank would be another training."""
    free = 10**9
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda _: type("", (), {"free": free})())
    run(tmp_path, JOINT, 2, method="full")
    parameters = memory.trainable_parameters(toy_model().transformer, "full", 1)
    held = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    free = memory.run_bytes(parameters, kept=2) - held
    run(tmp_path, JOINT, 3, method="full")
    free = 100
    with pytest.raises(memory.NotEnough, match="Going on .* more of disk in .* Free some space") as said:
        run(tmp_path, JOINT, 4, method="full")
    assert "rank" not in str(said.value)


def test_forget_deletes_runs_and_nothing_else(tmp_path):
    run(tmp_path)
    (tmp_path / "my notes").mkdir()
    assert forget_runs(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["my notes"]


@pytest.mark.parametrize(
    "chosen, sentence",
    [
        ({"strategy": "magic"}, "two_stage"),
        ({"method": "x"}, "lora"),
        ({"rank": 0}, "rank is 0"),
        ({"embedding_learning_rate": -1.0}, "above 0"),
        ({"initialisation": "x"}, "class"),
        ({"vectors": 999}, "room for"),
    ],
)
def test_bad_settings_get_a_sentence(chosen, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings(**chosen)


def test_unset_values_are_the_familys(tmp_path):
    resolved = TrainingSettings.resolve(FAMILY, rank=None)
    assert resolved.rank == FAMILY.recipe.lora_rank and resolved.embedding_steps == FAMILY.recipe.embedding_steps
    assert TrainingSettings.resolve(FAMILY, method="full").layer_learning_rate == FAMILY.recipe.full_learning_rate


# ---------------------------------------------------------------- samples on the way


def sampled(root, stage=EMBEDDING, steps=100, start=None, shown=None, **chosen):
    on_sample = None if shown is None else lambda step, images: shown.append((step, tuple(images.shape)))
    return Stage(toy_model(), SUBJECT, settings(**chosen), root, stage, start, samples=4, on_sample=on_sample).train(
        steps
    )


@pytest.mark.parametrize(
    "stage, steps, count, expected",
    [
        (EMBEDDING, 100, 4, [50, 100]),
        (LAYERS, 70, 4, [20, 40, 60, 70]),
        (EMBEDDING, 1500, 4, [400, 750, 1100, 1500]),
        (LAYERS, 5, 4, [5]),
        (JOINT, 45, 2, [40, 45]),
        (LAYERS, 70, 0, []),
    ],
)
def test_samples_are_spread_over_the_kept_steps(stage, steps, count, expected):
    found = sampled_steps(stage, steps, count)
    assert found[-1:] == expected[-1:] and len(found) == len(expected) <= max(count, 0)
    assert found == expected or stage == JOINT


def test_samples_show_what_the_kept_steps_draw_and_are_drawn_once(tmp_path, monkeypatch):
    shown = []
    result = sampled(tmp_path, shown=shown, embedding_steps=100)
    assert [step for step, _ in shown] == [50, 100] == list(result.samples) and shown[0][1] == (1, 32, 32, 3)
    model = toy_model().with_identifier(result.personalization)
    image = model.generate("a photo of [V] dog on the beach", SamplingSettings.resolve(FAMILY, seed=0))[0]
    assert torch.equal(result.samples[100], image.codes)
    monkeypatch.setattr(ARModel, "generate", None)  # from here on they are remembered
    again = sampled(tmp_path, embedding_steps=100)
    assert again.note == "remembered" and all(
        torch.equal(again.samples[step], codes) for step, codes in result.samples.items()
    )


def test_samples_of_a_training_made_without_them_are_drawn_afterwards(tmp_path):
    run(tmp_path / "plain", steps=100, embedding_steps=100)
    late, live = sampled(tmp_path / "plain", embedding_steps=100), sampled(tmp_path / "sampled", embedding_steps=100)
    assert late.note == "remembered" and all(torch.equal(late.samples[step], live.samples[step]) for step in (50, 100))


def test_samples_change_nothing_in_the_training(tmp_path):
    start = run(tmp_path).personalization
    plain = run(tmp_path / "plain", LAYERS, 20, start=start, layer_steps=20)
    assert same(plain, sampled(tmp_path / "sampled", LAYERS, 20, start=start, layer_steps=20))


def test_stage_two_starts_from_an_embedding_of_this_model(tmp_path):
    other = run(tmp_path, model=toy_model(seed=5)).personalization
    with pytest.raises(PersonalizationError, match="another base model"):
        run(tmp_path, LAYERS, 2, start=other)
    changed = run(tmp_path, JOINT, 2).personalization
    with pytest.raises(PersonalizationError, match="already changes the layers"):
        run(tmp_path, LAYERS, 2, start=changed)


# ---------------------------------------------------------------- what determines a run

# Written out, because a recipe may change: whoever asked for these values must find the same training.
ASKED = TrainingSettings(
    strategy="two_stage",
    method="lora",
    embedding_steps=4,
    layer_steps=3,
    embedding_learning_rate=0.01,
    layer_learning_rate=0.001,
    rank=8,
    vectors=1,
    initialisation="class",
    per_image_token=False,
    prior_preservation=False,
    prior_weight=1.0,
    prior_images=16,
    batch_size=8,
    micro_batch=8,
    clip_norm=1.0,
    gradient_checkpointing=False,
    seed=0,
)
BASE = "0123456789abcdef"
START = Personalization("[V]", "dog", torch.arange(16.0)[None], None, BASE)


def folder_name(stage, start=None, asked=ASKED, quantized=None, class_name="dog"):
    model = replace(toy_model(), fingerprint=BASE)
    model.transformer.quantized = quantized
    return Stage(model, replace(SUBJECT, class_name=class_name), asked, "runs", stage, start).run.folder.name


def test_trainings_have_the_names_that_commit_0f6fd39_gave_them():
    full = replace(ASKED, method="full")
    assert folder_name(EMBEDDING) == "dog-embedding-54b7d5561aaf4335"
    assert folder_name(LAYERS, START) == "dog-layers-9a53087c0fb9d5b1"
    assert folder_name(LAYERS) == "dog-layers-94041bcc5ce17c64"
    assert folder_name(JOINT) == "dog-joint-fbc68a1cec2b39a1"
    assert folder_name(EMBEDDING, asked=full) == "dog-embedding-54b7d5561aaf4335"
    assert folder_name(LAYERS, START, full) == "dog-layers-7f0dcda0f50ce239"
    assert folder_name(LAYERS, asked=full) == "dog-layers-bb943e55c07c60a4"
    assert folder_name(JOINT, asked=full) == "dog-joint-73c74b4997879f1a"
    assert folder_name(EMBEDDING, quantized="int8") == "dog-embedding-08477c30f1722bc7"
    assert folder_name(LAYERS, START, quantized="int8") == "dog-layers-d46d5b6b5bd13eef"
    other_class = folder_name(EMBEDDING, quantized="int8", class_name="Hündchen 狗")
    assert other_class == "Hündchen-狗-embedding-404f567ce57ced0f"


@dataclass(frozen=True)
class LaterSettings(TrainingSettings):
    """As a later version may have them."""

    noise: float = 0.0


def test_a_new_setting_names_another_run_only_where_it_is_not_as_before(monkeypatch):
    before = folder_name(JOINT)
    as_before = LaterSettings(**ASKED.describe())
    monkeypatch.setitem(identity.ADDED, JOINT, {"noise": 0.0})
    assert folder_name(JOINT, asked=as_before) == before
    noisy = replace(as_before, noise=0.5)
    assert folder_name(JOINT, asked=noisy) != before
    assert folder_name(EMBEDDING, asked=noisy) == folder_name(EMBEDDING)  # it was added to joint alone


def test_of_every_setting_it_is_said_whether_it_decides():
    deciding = {name for names in identity.DECIDING.values() for name in names}
    added = {name for names in identity.ADDED.values() for name in names}
    said = [*deciding, *added, *identity.WITH_MASKS, *identity.WITH_DUAL_PRIOR, *identity.NOT_DECIDING]
    assert sorted(said) == sorted(field.name for field in fields(TrainingSettings))


def test_every_setting_is_explained_and_every_strategy_has_stages():
    assert all(field.metadata["help"] for field in fields(TrainingSettings))
    assert set(STAGES) == set(STRATEGIES)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals between processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_inside_the_optimizers_step_loses_no_step(tmp_path, monkeypatch, number):
    """It is held back until the step is counted."""
    whole = run(tmp_path / "a", JOINT, 6)
    update = Loop._update

    def interrupted(self, total):
        if self.step == 3:
            os.kill(os.getpid(), number)
        return update(self, total)

    monkeypatch.setattr(Loop, "_update", interrupted)
    with keyboard_interrupts(), pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", JOINT, 6)
    monkeypatch.undo()
    resumed = run(tmp_path / "b", JOINT, 6)
    assert resumed.note == "went on from step 4"
    assert same(whole, resumed) and whole.losses == resumed.losses
