"""The stages as graphs, run by ComfyUI's executor: what is trained, remembered, applied, saved, stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs import (
    JANUS,
    LEARNING,
    PACK,
    SCORING,
    WORKFLOWS,
    applied,
    changed,
    graph,
    node,
    pictures,
    sampled,
    workflow,
)
from in_process import Comfy
from PIL import Image
from template_models import write_janus_and_upscaler

# ---------------------------------------------------------------- training


def test_both_stages_run_inside_the_executor(trained):
    personalization, losses, samples = (trained.outputs["tune"][i][0] for i in range(3))
    assert (
        personalization.identifier == "[V]"
        and personalization.class_name == "cat"
        and personalization.adapter.rank == 2
    )
    assert len(losses["loss"]) >= 2 and len(set(losses["loss"])) > 1
    assert (
        samples.dtype == torch.float32
        and samples.dim() == 4
        and samples.shape[-1] == 3
        and samples.min() >= 0
        and samples.max() <= 1
    )
    assert any(
        "2 steps" in text and "learning rate 0.01" in text for text in trained.texts("learn")
    )  # what 0 stood for


def test_a_new_server_repeats_no_step(trained, comfy, steps):
    assert comfy.run(graph()).ok and steps == []


def test_more_steps_train_only_the_rest_and_fewer_give_exactly_so_many(trained, comfy, steps):
    assert comfy.run(graph(learn__steps=3)).ok
    assert len(steps) == 1 + 2  # one more of stage 1; stage 2 stands on another embedding now
    steps.clear()
    assert comfy.run(graph()).ok and steps == []
    fewer = comfy.run(graph(learn__steps=1))
    assert any("embedding: 1 steps, trained" in text for text in fewer.texts("learn"))
    assert steps == [0, 0, 1]
    steps.clear()
    assert comfy.run(graph(learn__steps=1)).ok and comfy.run(graph(learn__steps=3)).ok and steps == []


def test_a_widget_changed_and_changed_back_repeats_no_step(trained, comfy, steps):
    assert comfy.run(graph(learn__training_seed=1, tune__training_seed=1)).ok and steps
    steps.clear()
    assert comfy.run(graph()).ok and steps == []


def test_another_workflow_in_between_repeats_no_step(trained, comfy, steps):
    assert comfy.run(graph()).ok
    assert comfy.run(
        {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
    ).ok
    assert comfy.run(graph()).ok and steps == []


def test_training_goes_on_after_another_model_took_the_memory(trained, comfy):
    """Offloaded and loaded in inference mode, weights would become inference tensors and gradients would fail."""
    assert comfy.run(graph()).ok
    with torch.inference_mode():
        management().unload_all_models()
    outcome = comfy.run(graph(learn__training_seed=7))
    assert outcome.ok, outcome.error


def management():
    import comfy.model_management

    return comfy.model_management


def test_without_stage_one_both_are_learned_jointly(comfy, steps):
    nodes = graph()
    del nodes["learn"], nodes["tune"]["inputs"]["identifier_embedding"]
    outcome = comfy.run(nodes)
    assert outcome.ok and len(steps) == 2
    assert outcome.outputs["tune"][0][0].recipe["stage"] == "joint"


def test_the_full_method_gives_a_patch_of_every_projection(trained, comfy):
    nodes = sampled(applied(graph(tune__method="full q/k/v")), ["apply", 0])
    assert torch.isfinite(pictures(comfy.run(nodes))[0]).all()


def test_cancelling_keeps_the_work_and_the_next_run_goes_on(comfy, steps, pack, monkeypatch):
    interrupt, loop = management().interrupt_current_processing, pack("ar_core.training.loop").Loop
    counting = loop._gradients

    def interrupted_at_three(self):
        if self.step == 2:
            interrupt()
        return counting(self)

    monkeypatch.setattr(loop, "_gradients", interrupted_at_three)
    nodes = graph(learn__steps=6, learn__training_seed=40)
    outcome = comfy.run(nodes)
    assert outcome.interrupted and steps == [0, 1, 2]
    assert "kept" in outcome.texts("learn")[-1]  # the last words on the node
    monkeypatch.setattr(loop, "_gradients", counting)
    outcome = comfy.run(nodes)
    done = 3 if steps[3] == 3 else 2  # since ComfyUI 0.8 the interruption comes from inside the step itself
    assert outcome.ok and steps[3:][: 6 - done] == list(range(done, 6))
    assert any(f"went on from step {done}" in text for text in outcome.texts("learn"))


@pytest.mark.parametrize("forwards", [1, 100, 333])
@pytest.mark.parametrize("stage", ["learn", "tune"])
def test_a_cancel_inside_a_layer_loses_no_step(trained, comfy, pack, monkeypatch, steps, stage, forwards):
    """As ComfyUI does since 0.8: any layer's forward raises, of a kind that `except Exception` does not see."""
    seed, layer = {"learn": 60, "tune": 70}[stage] + forwards, pack("nodes.host.layers").Layers.Linear
    nodes, calls, forward = graph(**{f"{stage}__steps": 3, f"{stage}__training_seed": seed}), [], layer.forward

    def interrupted(self, x):
        calls.append(1)
        if steps and len(calls) >= forwards:
            monkeypatch.setattr(layer, "forward", forward)
            raise management().InterruptProcessingException
        return forward(self, x)

    monkeypatch.setattr(layer, "forward", interrupted)
    outcome = comfy.run(nodes)
    assert outcome.interrupted and "what was finished is kept" in outcome.texts(stage)[-1]
    done = 3 if forwards == 333 else steps[-1]  # that many forwards end in the sample, after the last step
    assert steps == list(range(min(done, 2) + 1))
    steps.clear()
    assert comfy.run(nodes).ok
    assert steps == [*range(done, 3), *([0, 1] if stage == "learn" else [])]  # stage 2 follows on a new stage 1


@pytest.mark.parametrize("where", ["the last step", "the last sample"])
def test_a_cancel_that_comes_at_the_very_end_stops_the_queue_too(comfy, pack, monkeypatch, steps, where):
    """ComfyUI's own flag is taken away by the update that reports the cancel."""
    interrupt = management().interrupt_current_processing
    loop = pack("ar_core.training.loop").Loop
    view = pack("nodes.training_view").TrainingView
    update = loop._update
    shown = view.on_sample

    def cancelled_update(self, loss):
        result = update(self, loss)
        if self.step == 2:
            interrupt()
        return result

    def cancelled_sample(self, step, images):
        if step == 3:
            interrupt()
        return shown(self, step, images)

    if where == "the last step":
        monkeypatch.setattr(loop, "_update", cancelled_update)
    else:
        monkeypatch.setattr(view, "on_sample", cancelled_sample)
    nodes = graph(learn__steps=3, learn__training_seed=900 + len(where))
    outcome = comfy.run(nodes)
    assert outcome.interrupted and "tune" not in outcome.executed and steps == [0, 1, 2]
    monkeypatch.setattr(loop, "_update", update)
    monkeypatch.setattr(view, "on_sample", shown)
    assert comfy.run(nodes).ok and steps == [0, 1, 2, 0, 1]  # stage 1 was remembered


def test_progress_names_loss_and_time_and_previews_alternate(comfy, pack, monkeypatch):
    monkeypatch.setattr(pack("nodes.training_view"), "SECONDS", 0.0)
    monkeypatch.setattr(pack("ar_core.training.stages"), "KEEP_EVERY", {"embedding": 3, "layers": 3, "joint": 3})
    outcome = comfy.run(graph(steps=7, learn__training_seed=50))
    assert any("left of" in text and "loss" in text for text in outcome.texts("learn"))
    shapes = {
        preview[1].size for event, value in outcome.sent if event == "progress" and (preview := value[2]) is not None
    }
    assert len(shapes) >= 2  # curves and samples
    assert outcome.outputs["learn"][2][0].shape[0] == 3  # steps 3, 6 and 7


def test_core_nodes_take_what_training_gives(trained, comfy):
    nodes = graph()
    nodes["plot"] = {"class_type": "LossGraphNode", "inputs": {"loss": ["tune", 1], "filename_prefix": "losses"}}
    nodes["scaled"] = {
        "class_type": "ImageScale",
        "inputs": {"image": ["tune", 2], "upscale_method": "lanczos", "width": 64, "height": 64, "crop": "disabled"},
    }
    nodes["both"] = {"class_type": "ImageBatch", "inputs": {"image1": ["scaled", 0], "image2": ["learn", 2]}}
    nodes["saved"] = {"class_type": "SaveImage", "inputs": {"images": ["both", 0], "filename_prefix": "chained"}}
    outcome = comfy.run(nodes)
    assert outcome.ok, outcome.error
    assert list((comfy.base / "output").glob("chained*.png"))


# ---------------------------------------------------------------- photos


def copied(base, name: str, files: list) -> str:
    folder = base / "input" / name
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        (folder / f"{name}{number}.png").write_bytes(file.read_bytes())
    return name


def test_contents_and_not_names_decide_what_is_trained(trained, comfy, steps):
    files = sorted((PACK / "example_subjects" / "cream_cat").glob("*.png"))
    folder = copied(comfy.base, "renamed", files)
    assert comfy.run(graph(photos__folder=folder, photos__class_name="cat")).ok and steps == []
    (comfy.base / "input" / "renamed" / "renamed0.png").write_bytes(files[1].read_bytes())
    assert comfy.run(graph(photos__folder=folder, photos__class_name="cat")).ok and steps


def test_connected_batches_and_lists_are_one_subject(comfy, steps):
    nodes = graph(photos__folder="(connected images)", photos__class_name="toy dog")
    for i, count in ((1, 2), (2, 1)):
        nodes[f"image{i}"] = {
            "class_type": "EmptyImage",
            "inputs": {"width": 70 + i, "height": 90, "batch_size": count, "color": 255 * i},
        }
        nodes["photos"]["inputs"][f"photo_{i}"] = [f"image{i}", 0]
    nodes["list"] = node("Prompts", lines="red\nblue")  # any list on the way makes ComfyUI hand over lists
    outcome = comfy.run(nodes)
    assert outcome.ok, outcome.error or outcome.refused
    subject = outcome.outputs["photos"][0][0]
    assert len(subject.photos) == 3 and subject.class_name == "toy dog"
    assert len(steps) == 4  # trained once, not once per photo


def test_photos_of_every_kind_are_reported(comfy):
    folder = comfy.base / "input" / "mixed"
    folder.mkdir()
    Image.new("RGBA", (300, 200), (255, 0, 0, 100)).save(folder / "a.png")
    Image.fromarray(np.full((120, 90), 40000, np.uint16)).save(folder / "b.png")
    (folder / "c.txt").write_text("no picture", encoding="utf-8")
    nodes = {
        "photos": node("SubjectPhotos", folder="mixed", class_name="ball"),
        "seen": {"class_type": "PreviewImage", "inputs": {"images": ["photos", 1]}},
    }
    outcome = comfy.run(nodes)
    assert outcome.ok and outcome.outputs["photos"][1][0].shape == (2, 768, 768, 3)
    assert "skipped, not an image" in outcome.outputs["photos"][2][0]


# ---------------------------------------------------------------- applying and sampling


def test_the_base_stays_what_it_was(trained, comfy):
    before = pictures(comfy.run(sampled(graph(), ["model", 0])))[0]
    with_subject = sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat")
    changed_picture = pictures(comfy.run(with_subject))[0]
    both = sampled(sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat"), ["model", 0], name="plain")
    outcome = comfy.run(both)
    assert torch.equal(pictures(outcome, "plain")[0], before)
    assert torch.equal(pictures(outcome)[0], changed_picture)
    assert torch.equal(pictures(Comfy(comfy.base).run(sampled(graph(), ["model", 0])))[0], before)


def test_strength_zero_is_the_base_with_the_identifier_left_out(trained, comfy):
    nodes = sampled(applied(graph(), strength=0.0), ["apply", 0], prompt="a photo of a [V] cat")
    nodes = sampled(nodes, ["model", 0], name="plain", prompt="a photo of a cat")
    outcome = comfy.run(nodes)
    assert torch.equal(pictures(outcome)[0], pictures(outcome, "plain")[0])
    assert outcome.outputs["draw"][1] == ["a photo of a cat"]


def test_a_patched_model_draws_what_the_library_draws(trained, comfy, pack):
    from safetensors.torch import load_file  # noqa: F401  (ComfyUI brings it)

    seen = pictures(comfy.run(sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat")))[0]
    core = pack("ar_core")
    with torch.inference_mode(False):
        model = core.ARModel.load().personalized(trained.outputs["tune"][0][0])
        image = model.generate("a photo of [V] cat", core.SamplingSettings.resolve(model.family, seed=1))[0].images
    assert (seen - image).abs().mean() < 0.02  # patches round differently in the last bit; a code or two may differ


def test_two_subjects_need_two_names(trained, comfy):
    two = applied(applied(graph()), name="second", model="apply", identifier="[W]")
    outcome = comfy.run(sampled(two, ["second", 0], prompt="a photo of [V] cat and [W] cat"))
    assert outcome.ok and outcome.outputs["draw"][1] == ["a photo of [V] cat and [W] cat"]
    clash = applied(applied(graph()), name="second", model="apply")
    assert "both called [V]" in comfy.run(sampled(clash, ["second", 0], prompt="a photo of [V] cat")).error


def test_a_list_of_prompts_gives_a_list_of_pictures(trained, comfy):
    nodes = {"model": graph()["model"], "lines": node("Prompts", lines="a photo of a dog\n\n a red car \n")}
    outcome = comfy.run(sampled(nodes, ["model", 0], prompt=["lines", 0], batch_size=2))
    images = pictures(outcome)
    assert [tuple(i.shape) for i in images] == [(2, 96, 96, 3)] * 2 and not torch.equal(images[0], images[1])
    assert outcome.outputs["draw"][1] == ["a photo of a dog", "a red car"]


def test_another_seed_neither_reloads_nor_trains(trained, comfy, steps):
    nodes = sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat")
    first = pictures(comfy.run(nodes))[0]
    outcome = comfy.run(changed(nodes, draw__seed=2))
    assert steps == [] and not outcome.executed & {"model", "photos", "learn", "tune", "apply"}
    assert not torch.equal(first, pictures(outcome)[0])


def test_lists_of_values_draw_a_batch_for_each(comfy, pack):
    """As ComfyUI runs a node over lists: the last of a shorter one is repeated."""
    sampler = pack("nodes.sampler").Sampler
    ar = comfy.run(sampled({"model": graph()["model"]}, ["model", 0])).outputs["model"][0][0]

    def drawn(prompts, seeds, counts, decoding="sequential", first=None):
        found = sampler.execute([ar], prompts, ["1:1"], [0.0], [0], [1.0], seeds, counts, [decoding], first and [first])
        return found.args[0], found.args[1]

    images, prompts = drawn(["a red dog", "a blue car"], [5, 6, 7], [1, 2])
    assert prompts == ["a red dog", "a blue car", "a blue car"] and [len(batch) for batch in images] == [1, 2, 2]
    assert torch.equal(drawn(["a red dog"], [5], [1])[0][0], images[0])
    assert torch.equal(drawn(["a blue car"], [7], [2])[0][0], images[2])
    assert not torch.equal(images[1], images[2])
    alone = drawn(["a blue car"], [7], [1], first=1)[0][0]
    assert (alone[0] - images[2][1]).abs().mean() < 0.02  # picture 1 of the batch
    with pytest.raises(ValueError, match="2 models are connected"):
        sampler.execute([ar, object()], ["a"], ["1:1"], [0.0], [0], [1.0], [1], [1], ["auto"])


def test_pictures_grow_and_a_cancel_keeps_the_finished_ones(comfy, pack, monkeypatch):
    model = pack("ar_core.model")
    monkeypatch.setattr(model, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(model, "PREVIEW_PAUSE", 0)
    nodes = {"model": graph()["model"], "lines": node("Prompts", lines="a red dog\na blue car\na green cat")}
    nodes = sampled(nodes, ["model", 0], prompt=["lines", 0])
    batches = pack("nodes.sampler").Batches
    original = batches._batch
    calls = []

    def interrupt_in_the_second(self, wish, label, reporter):
        calls.append(wish.prompt)
        if len(calls) == 2:
            management().interrupt_current_processing()
        return original(self, wish, label, reporter)

    folder = comfy.base / "output" / "lumina_mgpt"
    before = set(folder.glob("stopped*.png"))
    monkeypatch.setattr(batches, "_batch", interrupt_in_the_second)
    outcome = comfy.run(nodes)
    assert outcome.interrupted and calls == ["a red dog", "a blue car"]
    previews = [value[2][1] for event, value in outcome.sent if event == "progress" and value[2] is not None]
    assert len(previews) > 8 and previews[0].getpixel((48, 95)) == (128, 128, 128)  # grey where nothing is drawn yet
    kept = list(set(folder.glob("stopped*.png")) - before)
    assert len(kept) == 1 and Image.open(kept[0]).info.get("prompt")


def test_a_cancel_while_the_only_picture_is_decoded_stops_the_queue_and_keeps_it(comfy, pack, monkeypatch):
    model = pack("ar_core.model").ARModel
    decode = model.decode

    def cancelled(self, codes):
        management().interrupt_current_processing()
        return decode(self, codes)

    monkeypatch.setattr(pack("ar_core.model"), "PREVIEW_SECONDS", 1e9)
    nodes = sampled({"model": graph()["model"]}, ["model", 0], seed=903)
    nodes = sampled(nodes, ["model", 0], name="second", seed=904)
    folder = comfy.base / "output" / "lumina_mgpt"
    before = set(folder.glob("stopped*.png"))
    monkeypatch.setattr(model, "decode", cancelled)
    outcome = comfy.run(nodes)
    assert outcome.interrupted and len({"draw", "second"} & outcome.executed) == 1
    assert len(set(folder.glob("stopped*.png")) - before) == 1


@pytest.mark.parametrize("error", [RuntimeError("the card is gone"), None])
def test_what_a_list_has_drawn_is_kept_whatever_ends_it(trained, comfy, pack, monkeypatch, error):
    model, folder = pack("ar_core.model").ARModel, comfy.base / "output" / "lumina_mgpt"
    generate, before = model.generate, set(folder.glob("stopped*.png"))

    def fails_at_the_second(self, prompts, *arguments, **options):
        if "car" in prompts[0]:
            raise error or management().InterruptProcessingException  # as a layer raises it since ComfyUI 0.8
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(model, "generate", fails_at_the_second)
    nodes = {"model": graph()["model"], "lines": node("Prompts", lines="a red dog\na blue car")}
    assert not comfy.run(sampled(nodes, ["model", 0], prompt=["lines", 0], seed=7)).ok
    assert len(set(folder.glob("stopped*.png")) - before) == 1


# ---------------------------------------------------------------- memory


def test_a_streamed_model_draws_the_same(trained, comfy, streamed, monkeypatch):
    nodes = sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat")
    seen = pictures(comfy.run(nodes))[0]
    streamed[-1].detach()
    monkeypatch.undo()
    resident = Comfy(comfy.base)
    assert (pictures(resident.run(nodes))[0] - seen).abs().mean() < 0.02  # patches are added in another order


@pytest.fixture
def shared_buffer(monkeypatch):
    """Streamed weights lie in one buffer, as on a card without cudaMallocAsync: each overwrites the one before."""
    import comfy.ops

    buffer, casts = torch.empty(2**20), []

    def forward(self, x):
        weight = buffer[: self.weight.numel()].view_as(self.weight)
        weight.data.copy_(self.weight)  # as a copy on another stream: torch's version counter does not see it
        casts.append(1)
        return torch.nn.functional.linear(x, weight.data)

    monkeypatch.setattr(comfy.ops.disable_weight_init.Linear, "forward_comfy_cast_weights", forward)
    return casts


@pytest.mark.parametrize("method", ["LoRA", "full q/k/v"])
def test_training_through_streamed_layers_learns_the_same(
    comfy, streamed, shared_buffer, pack, monkeypatch, steps, tmp_path, method
):
    def learned(runs):
        monkeypatch.setattr(pack("nodes.training_view"), "runs_folder", lambda: tmp_path / runs)
        outcome = Comfy(comfy.base).run(graph(tune__method=method))
        assert outcome.ok, outcome.error
        return outcome.outputs["learn"][0][0].vectors, outcome.outputs["tune"][0][0].adapter

    vectors, adapter = learned("streamed")
    assert shared_buffer  # the samples were drawn through it
    streamed[-1].detach()
    monkeypatch.setattr(pack("nodes.training_view"), "make_resident", lambda ar, needed: None)
    expected, changes = learned("resident")
    assert steps == [0, 1, 0, 1] * 2
    assert torch.equal(vectors, expected) and all(
        torch.equal(adapter.change(name), changes.change(name)) for name in adapter.names()
    )


def test_the_image_tokenizer_is_loaded_whole_or_not_at_all(trained):
    """Its layers cannot be cast: split over two devices it would crash when all codes are drawn."""
    patcher = trained.outputs["model"][0][0].image_tokenizer
    patcher.detach()
    patcher.patch_model(torch.device("cpu"), lowvram_model_memory=2**20)  # a tenth of it
    assert patcher.loaded_size() == patcher.model_size() and not patcher.model.model_lowvram
    assert patcher.partially_unload(torch.device("cpu"), 2**20) == 0 and patcher.loaded_size() == patcher.model_size()
    patcher.detach()
    assert patcher.loaded_size() == 0


# ---------------------------------------------------------------- files


def test_saving_and_loading_gives_the_same_pictures(trained, comfy):
    nodes = sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat")
    nodes["save"] = node("SavePersonalization", personalization=["tune", 0], name="round trip", consent="my pet")
    outcome = comfy.run(nodes)
    first, text = pictures(outcome)[0], outcome.outputs["save"][0][0]
    assert (
        "press r" in text.lower()
        and (comfy.base / "models" / "lumina_mgpt_subjects" / "round trip.safetensors").is_file()
    )
    loaded = {"model": nodes["model"], "file": node("LoadPersonalization", file="round trip.safetensors")}
    loaded = applied(loaded, personalization="file")
    outcome = comfy.run(sampled(loaded, ["apply", 0], prompt="a photo of [V] cat"))
    assert torch.equal(pictures(outcome)[0], first)
    assert outcome.outputs["file"][0][0].recipe["consent"] == "my pet"


def test_the_same_subject_is_saved_once_and_another_of_that_name_gets_a_number(trained, comfy):
    nodes = {**graph(), "save": node("SavePersonalization", personalization=["tune", 0], name="twice", consent="other")}
    folder = comfy.base / "models" / "lumina_mgpt_subjects"
    assert comfy.run(nodes).ok
    again = Comfy(comfy.base).run(nodes)  # as after a restart
    assert again.ok and "already" in again.outputs["save"][0][0]
    assert [path.name for path in folder.glob("twice*")] == ["twice.safetensors"]
    assert str(folder / "twice.safetensors") in str(again.history)  # for clients without a browser
    assert comfy.run(changed(nodes, save__consent="my pet")).ok
    assert {path.name for path in folder.glob("twice*")} == {"twice.safetensors", "twice_2.safetensors"}


def test_the_sampler_says_what_was_probably_not_meant(trained, comfy):
    nodes = sampled(applied(graph()), ["apply", 0], prompt="a photo of a (red:1.2) cat")
    said = comfy.run(nodes).texts("draw")[-1]
    assert "No prompt names [V]: write [V] cat" in said and "Read as plain words: (red:1.2)" in said
    said = comfy.run(changed(nodes, draw__prompt="a photo of [V] cat")).texts("draw")[-1]
    assert "No prompt names" not in said and "plain words" not in said


def test_only_the_loader_changes_for_another_model(comfy, steps):
    """The 7B's file layout and token protocol, in small: other widths, other picture size, other vocabulary."""
    from tiny import write_lumina

    write_lumina(comfy.base / "models" / "lumina_mgpt" / "tiny")
    nodes = workflow(LEARNING)
    for value in nodes.values():
        if value["class_type"] == "LuminaMGPTLoadModel":
            value["inputs"] |= {"model_name": "tiny", "family": "lumina-mgpt-512"}
        if "training_seed" in value["inputs"]:
            value["inputs"]["steps"] = 1
        if value["class_type"] == "LuminaMGPTSampler":
            value["inputs"]["top_k"] = 5
        if value["class_type"] == "LuminaMGPTPrompts":
            value["inputs"]["lines"] = "a photo of [V] cat"
    outcome = comfy.run(nodes)
    assert outcome.ok, outcome.error or outcome.refused
    sampler = next(key for key, value in nodes.items() if value["class_type"] == "LuminaMGPTSampler")
    assert outcome.outputs[sampler][0][0].shape == (1, 512, 512, 3) and len(steps) == 2


@pytest.mark.parametrize("family, title", [("auto", "768 px"), ("lumina-mgpt-1024", "1024 px")])
def test_the_loader_says_which_family_it_took_and_asks_where_the_files_are_silent(family, title, comfy, pack):
    from tiny import write_lumina

    write_lumina(comfy.base / "models" / "lumina_mgpt" / "in-question-512")
    about = pack("nodes.load_model").LoadModel.execute("in-question-512", "auto", family).args[1]
    assert f"Lumina-mGPT 7B, {title}" in about
    assert ("choose the family lumina-mgpt-512" in about) == (family == "auto")


# ---------------------------------------------------------------- every workflow as it ships


@pytest.mark.parametrize("name", [name for name in WORKFLOWS if name != SCORING])
def test_workflows_run(name, comfy):
    if name == JANUS:
        write_janus_and_upscaler(comfy.base / "models")
    outcome = comfy.run(shortened(workflow(name)))
    assert outcome.ok, outcome.error or outcome.refused


def test_the_pictures_of_janus_pro_are_saved_enlarged_and_without_the_two_nodes_as_drawn(comfy):
    write_janus_and_upscaler(comfy.base / "models")
    nodes = shortened(workflow(JANUS))
    number = {value["class_type"]: key for key, value in nodes.items()}
    sampler, saver = number["LuminaMGPTSampler"], number["SaveImage"]
    enlarger = number["ImageUpscaleWithModel"]
    outcome = comfy.run(changed(nodes, **{f"{saver}__filename_prefix": "enlarged"}))
    drawn, enlarged = pictures(outcome, sampler), pictures(outcome, enlarger)
    assert [picture.shape for picture in drawn] == [(1, 384, 384, 3)] * 2  # one of each prompt
    repeated = [picture.repeat_interleave(4, 1).repeat_interleave(4, 2) for picture in drawn]
    for one, other in zip(enlarged, repeated, strict=True):
        assert one.shape == other.shape and (one - other).abs().max() < 1 / 255
    assert saved_sizes(comfy, "enlarged") == [(1536, 1536)] * 2
    del nodes[enlarger], nodes[number["UpscaleModelLoader"]]
    links = {f"{saver}__images": [sampler, 0], f"{saver}__filename_prefix": "as drawn"}
    assert comfy.run(changed(nodes, **links)).ok
    assert saved_sizes(comfy, "as drawn") == [(384, 384)] * 2


def saved_sizes(comfy, prefix: str) -> list[tuple[int, int]]:
    return [Image.open(path).size for path in (comfy.base / "output").glob(f"{prefix}*.png")]


@pytest.fixture
def without_models(monkeypatch, tmp_path):
    """Makes folders of models empty ones, below the path that it gives."""
    import folder_paths

    def empty(*kinds: str):
        for kind in kinds:
            (tmp_path / kind).mkdir()
            monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(tmp_path / kind)], {".pth"}))
        return tmp_path

    return empty


def test_the_janus_pro_workflow_without_its_model_says_where_one_goes(comfy, without_models):
    models = without_models("Janus-Pro", "lumina_mgpt")
    (loader,) = [key for key, value in workflow(JANUS).items() if value["class_type"] == "LuminaMGPTLoadJanusPro"]
    folder = comfy.base / "models" / "Janus-Pro"
    outcome = comfy.run(workflow(JANUS))
    sentence = f"There is no Janus-Pro in {folder} yet. Copy the model's files into a folder there"
    assert outcome.error.startswith(sentence) and outcome.texts(loader)[-1].startswith(sentence)
    (models / "Janus-Pro" / "another").mkdir()
    (models / "Janus-Pro" / "another" / "config.json").write_text("{}", encoding="utf-8")
    assert comfy.run(workflow(JANUS)).error.startswith(f'There is no "Janus-Pro-1B" in {folder}.')


def test_the_janus_pro_workflow_without_its_upscale_model_names_the_file(comfy, without_models):
    """In ComfyUI's own words, before the run or in it; the subject is learned all the same, or remembered."""
    write_janus_and_upscaler(comfy.base / "models")
    without_models("upscale_models")
    outcome = comfy.run(shortened(workflow(JANUS)))
    assert "RealESRGAN_x4plus.pth" in f"{outcome.error} {outcome.refused}"


def test_the_score_workflow_scores_with_the_miniatures_own_scorers(trained, comfy):
    nodes = shortened(workflow(SCORING))
    outcome = comfy.run(nodes)
    assert outcome.ok, outcome.error
    identity, image, words, picture, text = scores_of(nodes, outcome)
    assert all(-1 <= value <= 1 for value in (identity, image, words)) and picture.shape[0] == 1
    assert (
        f"{identity:.3f}" in text and "mini-ID" in text and "published" not in text
    )  # they compare with nothing published


def test_the_papers_encoders_come_from_the_users_folder(trained, comfy):
    from tiny_encoders import write_encoders

    nodes = shortened(workflow(SCORING))
    score_node(nodes)["inputs"]["encoders"] = "DINO ViT-S/16 + CLIP ViT-B/32"
    folder = comfy.base / "models" / "lumina_mgpt_scorers"
    error = comfy.run(nodes).error
    assert str(folder / "dino-vits16") in error and "model.safetensors" in error  # which files, and where they go
    write_encoders(folder, "dino-vits16", "clip-vit-base-patch32", of_paper=True)
    outcome = comfy.run(nodes)
    assert outcome.ok, outcome.error
    dino, *_, text = scores_of(nodes, outcome)
    assert f"{dino:.3f}" in text and "published: two-stage" in text


def score_node(nodes: dict) -> dict:
    return next(value for value in nodes.values() if value["class_type"] == "LuminaMGPTDreamBenchScore")


def scores_of(nodes: dict, outcome) -> list:
    key = next(key for key, value in nodes.items() if value is score_node(nodes))
    return [output[0] for output in outcome.outputs[key]]


def test_benchmark_prompts_come_from_the_users_data_set_or_are_built_in(comfy):
    def listed(source: str) -> list[str]:
        nodes = {"lines": node("Prompts", lines="unused", source=source)}
        nodes["show"] = {"class_type": "PreviewAny", "inputs": {"source": ["lines", 0]}}
        outcome = comfy.run(nodes)
        return outcome.outputs["lines"][0] if outcome.ok else [outcome.error]

    drawn = listed("miniature: figures")
    assert "a [V] in the jungle" in drawn and "a yellow [V]" in drawn and len(drawn) == 10
    assert "prompts_and_classes.txt is not in" in listed("DreamBench: objects")[0]
    text = "Object Prompts\n'a {0} {1} at home'\nLive Subject Prompts\n'a {0} {1} at sea'\n'a wet {0} {1}'\n"
    path = comfy.base / "input" / "dreambooth" / "dataset" / "prompts_and_classes.txt"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert listed("DreamBench: objects") == ["a [V] at home"]
    assert listed("DreamBench: live subjects") == ["a [V] at sea", "a wet [V]"]


def shortened(nodes: dict) -> dict:
    """The same graph with two training steps and few prompts."""
    for value in nodes.values():
        if "training_seed" in value["inputs"]:
            value["inputs"]["steps"] = 2
        if value["class_type"] == "LuminaMGPTPrompts":
            value["inputs"]["lines"] = "\n".join(value["inputs"]["lines"].splitlines()[:2])
    return nodes
