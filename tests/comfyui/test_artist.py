"""What an artist meets: words on the nodes, models that are not complete, photos, remembered trainings."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import time

import pytest
import torch
from graphs import LEARNING, PACK, applied, changed, graph, node, sampled, workflow
from in_process import Comfy

MODEL = {"model": graph()["model"]}


# ---------------------------------------------------------------- prompts and shapes


def test_an_empty_prompt_draws_what_the_graph_is_about(trained, comfy):
    outcome = comfy.run(sampled(applied(graph()), ["apply", 0], prompt=" "))
    assert outcome.outputs["draw"][1] == ["a photo of [V] cat on the beach"]
    assert "No prompt names" not in outcome.texts("draw")[-1]
    outcome = comfy.run(sampled(MODEL, ["model", 0], prompt=""))
    assert outcome.outputs["draw"][1] == ["a photo of a red dog on the beach"]


def test_a_shape_that_the_model_does_not_have_is_not_replaced_silently(comfy):
    said = comfy.run(sampled(MODEL, ["model", 0], shape="16:9")).texts("draw")[-1]
    assert "does not draw 16:9" in said and "96x96 is the nearest" in said
    assert "does not draw" not in comfy.run(sampled(MODEL, ["model", 0])).texts("draw")[-1]


# ---------------------------------------------------------------- recipes


def test_a_node_without_a_recipe_takes_the_models_own(pack):
    """As prompts and workflows from before there were recipes."""
    for module, name in (("learn_identifier", "LearnIdentifier"), ("fine_tune", "FineTuneTransformer")):
        execute = getattr(pack(f"nodes.{module}"), name).execute
        assert inspect.signature(execute).parameters["recipe"].default == "paper"


def test_the_recipe_for_artists_changes_what_zero_means(trained, pack):
    view, lumina = pack("nodes.training_view"), pack("ar_core.families.lumina_mgpt")
    from dataclasses import replace

    ar = trained.outputs["model"][0][0]
    ar = replace(ar, model=replace(ar.model, family=lumina.LUMINA_768))
    assert view.with_chosen_recipe(ar, "paper").model.family.recipe is lumina.PAPER_RECIPE
    assert view.with_chosen_recipe(ar, "artist (ours)").model.family.recipe == lumina.ARTIST_RECIPE
    with pytest.raises(ValueError, match='recipe is "mine"; choose one of: artist .ours., paper'):
        view.with_chosen_recipe(ar, "mine")


def test_the_miniature_has_one_recipe_and_nothing_is_trained_again(trained, comfy):
    again = comfy.run(graph(learn__recipe="artist (ours)", tune__recipe="artist (ours)"))
    assert any("remembered" in text for text in again.texts("tune"))


def test_a_list_that_was_stopped_says_where_its_pictures_are(comfy, pack, monkeypatch):
    import comfy.model_management as management

    batches = pack("nodes.sampler").Batches
    original = batches._batch

    def stopped_at_the_second(self, wish, label, reporter):
        if self.drawn:
            management.interrupt_current_processing()
        return original(self, wish, label, reporter)

    monkeypatch.setattr(batches, "_batch", stopped_at_the_second)
    nodes = {**MODEL, "lines": node("Prompts", lines="a red dog\na blue car")}
    outcome = comfy.run(sampled(nodes, ["model", 0], prompt=["lines", 0], seed=31))
    said = outcome.texts("draw")[-1]
    assert outcome.interrupted and "1 finished picture saved" in said
    place = re.search(r"the first as (.+\.png)", said)[1]
    assert os.path.isfile(place)


def test_a_sampler_that_failed_does_not_go_on_getting_ready(comfy, pack, monkeypatch):
    def fails(self, *_, **__):
        raise RuntimeError("the card is gone")

    monkeypatch.setattr(pack("ar_core.model").ARModel, "generate", fails)
    said = comfy.run(sampled(MODEL, ["model", 0], seed=32)).texts("draw")
    assert said[-1].startswith("the card is gone") and "No picture was finished." in said[-1]


def test_a_cancel_before_the_first_step_does_not_leave_getting_ready(comfy, pack, monkeypatch):
    import comfy.model_management as management

    def stopped(*_):
        raise management.InterruptProcessingException

    monkeypatch.setattr(pack("nodes.training_view"), "make_resident", stopped)
    outcome = comfy.run(graph(learn__training_seed=77))
    assert outcome.interrupted and outcome.texts("learn")[-1].startswith("Stopped at your request")


# ---------------------------------------------------------------- words


def test_every_line_on_a_node_is_a_sentence(pack, monkeypatch):
    """Nodes 2.0 joins lines by a space."""
    progress, sent = pack("nodes.host.progress"), []
    monkeypatch.setattr(progress, "send_text", sent.append)
    progress.show_text("two pictures\n\n cfg 2.0 \nwhat now?")
    progress.show_text("one line")
    assert sent == ["two pictures.\ncfg 2.0.\nwhat now?", "one line"]


def test_nodes_speak_no_developers_talk(trained, comfy):
    nodes = sampled(applied(graph()), ["apply", 0], prompt="a photo of [V] cat")
    nodes["save"] = node("SavePersonalization", personalization=["tune", 0], name="plain words", consent="other")
    nodes["again"] = node("LoadPersonalization", file="example: lilac_dog")
    nodes["seen_again"] = {"class_type": "PreviewAny", "inputs": {"source": ["again", 1]}}
    words = " ".join(Comfy(comfy.base).run(nodes).texts())
    assert "write [V] cat" in words and "[V] dog, LoRA, 60 steps" in words
    for hidden in ("fingerprint", "window", "base ", "tensor(", " 0 MiB"):
        assert hidden not in words, hidden


@pytest.mark.parametrize(
    "source, words", [("model", "miniature"), ("photos", "5 photos of one cat"), ("tune", "[V] cat")]
)
def test_preview_as_text_shows_words_instead_of_tensors(source, words, trained, comfy):
    nodes = {**graph(), "show": {"class_type": "PreviewAny", "inputs": {"source": [source, 0]}}}
    outcome = comfy.run(nodes)
    (text,) = outcome.history["outputs"]["show"]["text"]
    assert words in text and "tensor" not in text and len(text) < 200


# ---------------------------------------------------------------- models


@pytest.fixture
def models(comfy):
    folder = comfy.base / "models" / "lumina_mgpt"
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_folder_without_config_is_listed_and_says_what_is_missing(comfy, pack, models):
    (models / "half").mkdir()
    (models / "half" / "model-00001-of-00002.safetensors").write_bytes(b"1")
    (models / "notes").mkdir()
    (models / "notes" / "read me.txt").write_text("no model", encoding="utf-8")
    entries = pack("nodes.host.folders").model_entries()
    assert "half" in entries and "notes" not in entries
    with pytest.raises(ValueError, match="config.json"):
        pack("nodes.load_model").LoadModel.execute("half", "auto")


def test_files_directly_in_the_models_folder_are_a_model_too(comfy, pack, models):
    from tiny import write_lumina

    folders = pack("nodes.host.folders")
    assert folders.HERE not in folders.model_entries()
    made = write_lumina(comfy.base / "made elsewhere")
    for path in made.iterdir():
        shutil.copy(path, models)
    assert folders.HERE in folders.model_entries()
    assert pack("nodes.load_model").LoadModel.execute(folders.HERE, "auto").args[1].startswith("Lumina-mGPT")


def test_the_loader_says_whether_anybody_ran_it_on_this_device(comfy, pack, monkeypatch):
    loader, loading = pack("nodes.load_model"), pack("nodes.loading")
    assert "Runs on: CPU." in loader.LoadModel.execute("miniature (built in)", "auto").args[1]
    monkeypatch.setattr(loading, "computing_device", lambda: torch.device("mps"))
    assert "Apple graphics: untested" in loader.LoadModel.execute("miniature (built in)", "auto").args[1]
    monkeypatch.setattr(loading, "computing_device", lambda: torch.device("privateuseone"))
    with pytest.raises(ValueError, match="DirectML"):
        loader.LoadModel.execute("miniature (built in)", "auto")


# ---------------------------------------------------------------- photos


def photos_shown(comfy, folder: str) -> tuple[str, list]:
    """What Subject Photos says and shows, run alone."""
    outcome = comfy.run({"photos": node("SubjectPhotos", folder=folder, class_name="dog")})
    assert outcome.ok, outcome.error or outcome.refused
    return outcome.texts("photos")[-1], outcome.history["outputs"]["photos"]["images"]


def test_the_crops_are_shown_before_anything_is_trained(comfy):
    said, images = photos_shown(comfy, "example: lilac_dog")
    assert "5 photos of one dog" in said and len(images) == 5
    assert (comfy.base / "temp" / images[0]["filename"]).is_file()


def test_one_photo_alone_is_warned_of(comfy):
    folder = comfy.base / "input" / "single"
    folder.mkdir()
    shutil.copy(next((PACK / "example_subjects" / "lilac_dog").glob("*.png")), folder)
    said, images = photos_shown(comfy, "single")
    assert "1 photo of one dog" in said and "One photo is little" in said and len(images) == 1


def test_photos_of_an_iphone_are_read(comfy):
    folder = comfy.base / "input" / "heic"
    folder.mkdir()
    for name in ("grid", "rotated"):
        shutil.copy(PACK / "tests" / "fixtures" / "photos" / f"{name}.heic", folder)
    said, images = photos_shown(comfy, "heic")
    assert "2 photos of one dog" in said and len(images) == 2


# ---------------------------------------------------------------- remembered trainings


def test_trainings_of_earlier_versions_are_found_where_they_were(trained, comfy, pack, steps):
    folders = pack("nodes.host.folders")
    earlier = folders.subjects_folder() / "_runs"
    os.rename(folders.runs_folder(), earlier)
    assert Comfy(comfy.base).run(graph()).ok and steps == []
    assert not earlier.exists() and any(folders.runs_folder().iterdir())
    import folder_paths

    listed = folder_paths.get_filename_list("lumina_mgpt_subjects")
    assert not [name for name in listed if "state" in name or "codes" in name]


def test_remembered_trainings_are_listed_and_deleted_one_by_one(trained, comfy, pack, steps):
    folder = pack("nodes.host.folders").runs_folder()

    def about(delete: str):
        outcome = comfy.run({"list": node("RememberedTrainings", delete=delete)})
        return outcome.error or outcome.outputs["list"][0][0]

    listed = about("nothing")
    assert str(folder) in listed and "codes of photos" in listed
    run = max(folder.glob("cat-layers-*"), key=lambda path: path.stat().st_mtime).name
    assert any(line.startswith(f"{run}, layers, 2 steps, ") for line in listed.splitlines())
    assert "Deleted 0 trainings" in about("all that were not used for 30 days")
    assert "Deleted 1 training" in about(run) and not (folder / run).exists()
    assert "may have been deleted already" in about(run)
    assert Comfy(comfy.base).run(graph()).ok and steps == [0, 1]  # only the deleted stage


def test_what_was_not_used_for_a_month_is_deleted(comfy, pack, tmp_path):
    remembered = pack("ar_core.training.remembered")
    for name, age in (("old", 40), ("new", 2)):
        run = pack("ar_core.training.runs").Run(tmp_path, name, {"class": "cat", "stage": "layers"})
        run.open()
        for path in run.folder.iterdir():
            os.utime(path, (time.time() - age * 86400,) * 2)
    (tmp_path / "mythesis").mkdir()
    (tmp_path / "mythesis" / "run.json").write_text('{"class": "cat", "stage": "layers"}', encoding="utf-8")
    os.utime(tmp_path / "mythesis" / "run.json", (1, 1))
    module = pack("nodes.remembered_trainings")
    chosen = module.chosen_runs(remembered.remembered_runs(tmp_path), module.OLD)
    assert [run.class_name for run in chosen] == ["cat"] and chosen[0].name.startswith("old-")


# ---------------------------------------------------------------- finding the nodes


def test_search_words_and_folded_inputs_are_given_where_this_version_knows_them(base):
    from comfy_api.latest import io

    import nodes

    ours = {name: cls for name, cls in nodes.NODE_CLASS_MAPPINGS.items() if name.startswith("LuminaMGPT")}
    schemas = {name: cls.GET_SCHEMA() for name, cls in ours.items()}
    words = {word for schema in schemas.values() for word in getattr(schema, "search_aliases", [])}
    folded = {
        f"{name}.{entry.id}"
        for name, schema in schemas.items()
        for entry in schema.inputs
        if getattr(entry, "advanced", None)
    }
    if "search_aliases" in inspect.signature(io.Schema).parameters:
        wanted = {"train", "lora train", "textual inversion", "dreambooth", "personalize", "prompt list", "sampler"}
        assert wanted <= words and "autoregressive" in words
        assert {"LuminaMGPTSampler.cfg", "LuminaMGPTFineTuneTransformer.rank"} <= folded
        assert "LuminaMGPTSampler.prompt" not in folded
    else:
        assert not words and not folded


def test_a_fresh_score_node_takes_the_encoders_that_are_there(base, pack):
    from tiny_encoders import write_encoders

    module = pack("nodes.dreambench_score")
    folder = base / "models" / "lumina_mgpt_scorers"
    shutil.rmtree(folder)
    folder.mkdir()
    assert "miniature" in module.default_encoders()
    write_encoders(folder, "dino-vits16", "clip-vit-base-patch32")
    assert module.default_encoders() == "DINO ViT-S/16 + CLIP ViT-B/32"
    shutil.rmtree(folder)
    folder.mkdir()


def test_the_learning_template_says_how_long_it_takes_and_what_zero_stood_for(comfy, pack, monkeypatch):
    monkeypatch.setattr(pack("nodes.host.progress").Remaining, "PAUSE", 0.0)
    nodes = workflow(LEARNING)
    for value in nodes.values():
        if "training_seed" in value["inputs"]:
            value["inputs"] |= {"steps": 8, "training_seed": 55}
    outcome = comfy.run(changed(nodes, **{"6__lines": "a photo of [V]"}))
    assert outcome.ok, outcome.error
    for stage in ("3", "4"):
        assert any(re.search(r"\d+ of 8, \d+ s left of \d+ s", text) for text in outcome.texts(stage))
        assert "learning rate 0.0" in outcome.texts(stage)[-1]
