"""Every bad input of every node gives its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs import applied, changed, graph, node, sampled
from in_process import Comfy

BEACH = "a photo of a dog on the beach"


def model_only(**changes) -> dict:
    return changed(sampled({"model": graph()["model"]}, ["model", 0], prompt=BEACH), **changes)


def scored(**inputs) -> dict:
    nodes = {**graph(), "lines": node("Prompts", lines="a dog\na cat"), "three": node("Prompts", lines="a\nb\nc")}
    values = {
        "images": ["draw", 0],
        "subject": ["photos", 0],
        "prompts": ["lines", 0],
        "encoders": "DINO ViT-S/16 + CLIP ViT-B/32",
        **inputs,
    }
    nodes = sampled(nodes, ["model", 0], prompt=["lines", 0])
    return {
        **nodes,
        "score": node("DreamBenchScore", **values),
        "end": {"class_type": "PreviewAny", "inputs": {"source": ["score", 4]}},
    }


CASES = {
    "a model that is not there": (model_only(model__model_name="no such"), 'no "no such"'),
    "a model outside its folder": (model_only(model__model_name="../../etc"), "Press R"),
    "an unknown precision": (model_only(model__precision="int3"), "precision"),
    "an unknown shape": (model_only(draw__shape="5:1"), "shape"),
    "an unknown decoding": (model_only(draw__decoding="magic"), "decoding"),
    "a name that nobody has": (model_only(draw__prompt="a photo of [V] dog"), "[V]"),
    "a control token": (model_only(draw__prompt="<reserved01030>"), "control token"),
    "no prompt at all": (
        sampled({"model": graph()["model"], "lines": node("Prompts", lines="\n ")}, ["model", 0], prompt=["lines", 0]),
        "no prompt",
    ),
    "no photo": (graph(photos__folder="(connected images)"), "No photo is connected"),
    "a folder that is not there": (graph(photos__folder="nowhere"), 'no photo folder "nowhere"'),
    "a folder outside input": (graph(photos__folder="../models"), "no photo folder"),
    "the input folder itself": (graph(photos__folder="."), "no photo folder"),
    "an example outside examples": (graph(photos__folder="example: ../tests"), "no photo folder"),
    "an unknown method": (graph(tune__method="lokr"), "method"),
    "a file that is not there": (
        sampled(
            applied(
                {"model": graph()["model"], "file": node("LoadPersonalization", file="gone.safetensors")},
                personalization="file",
            ),
            ["apply", 0],
            prompt=BEACH,
        ),
        "Press R",
    ),
    "a file outside its folder": (
        sampled(
            applied(
                {"model": graph()["model"], "file": node("LoadPersonalization", file="../../x")}, personalization="file"
            ),
            ["apply", 0],
            prompt=BEACH,
        ),
        "Press R",
    ),
    "training on a personalized model": (
        changed(applied(graph(), name="first", personalization="learn"), tune__ar_model=["first", 0]),
        "already personalized",
    ),
    "starting from changed layers": (
        {
            **graph(),
            "again": node(
                "FineTuneTransformer",
                ar_model=["model", 0],
                subject=["photos", 0],
                identifier_embedding=["tune", 0],
                method="LoRA",
                rank=2,
                steps=1,
                learning_rate=0.0,
                training_seed=0,
            ),
            "end": {"class_type": "PreviewImage", "inputs": {"images": ["again", 2]}},
        },
        "already changes the layers",
    ),
    "an identifier of two words": (
        sampled(applied(graph(), identifier="my dog"), ["apply", 0], prompt=BEACH),
        "cannot be an identifier",
    ),
    "other encoders": (scored(encoders="ours"), "encoders"),
    "prompts that do not fit": (scored(prompts=["three", 0]), "2 pictures or batches and 3 prompts"),
    "an unknown consent": (
        {**graph(), "save": node("SavePersonalization", personalization=["tune", 0], name="x", consent="none")},
        "consent",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_sentence(case, comfy):
    nodes, sentence = CASES[case]
    outcome = comfy.run(nodes)
    assert outcome.refusal(sentence), outcome.error or outcome.refused
    assert not (outcome.error and outcome.ok)


@pytest.mark.parametrize(
    "kind, inputs, sentence",
    [
        ("load_model.LoadModel", {"model_name": "no such", "precision": "auto"}, 'no "no such"'),
        ("load_model.LoadModel", {"model_name": "../../etc", "precision": "auto"}, "Press R"),
        ("subject_photos.SubjectPhotos", {"folder": ["../models"], "class_name": [""]}, "no photo folder"),
        ("subject_photos.SubjectPhotos", {"folder": ["."], "class_name": [""]}, "no photo folder"),
        ("subject_photos.SubjectPhotos", {"folder": ["example: ../tests"], "class_name": [""]}, "no photo folder"),
    ],
)
def test_values_that_no_list_offers_are_refused_by_the_nodes_too(base, pack, kind, inputs, sentence):
    """Versions before and after 0.3.64 differ in what the server itself checks."""
    module, name = kind.split(".")
    with pytest.raises(ValueError, match=sentence):
        getattr(pack(f"nodes.{module}"), name).execute(**inputs)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", "C:evil", ".hidden", "con", "x" * 200, "trailing."])
def test_names_never_leave_their_folder(name, comfy):
    nodes = {**graph(), "save": node("SavePersonalization", personalization=["tune", 0], name=name, consent="other")}
    assert "cannot be a file name" in comfy.run(nodes).error


def test_an_empty_class_name_is_asked_for(comfy):
    folder = comfy.base / "input" / "unnamed"
    folder.mkdir()
    from PIL import Image

    Image.new("RGB", (80, 80), "red").save(folder / "1.png")
    outcome = comfy.run(graph(photos__folder="unnamed"))
    assert "class_name is empty" in outcome.error
    previews = [value[2] for event, value in outcome.sent if event == "progress"]
    assert any(preview is not None for preview in previews)  # the crops are seen all the same


def test_a_model_without_its_parts_names_file_and_folder(comfy):
    from tiny import write_lumina

    folder = write_lumina(comfy.base / "models" / "lumina_mgpt" / "without-vq")
    (folder / "vqgan.safetensors").unlink()
    error = comfy.run(model_only(model__model_name="without-vq")).error
    assert "vqgan.ckpt" in error and str(folder) in error


def test_a_subject_of_another_model_is_refused(comfy):
    from tiny import write_lumina

    write_lumina(comfy.base / "models" / "lumina_mgpt" / "other-512", seed=3)
    nodes = applied({**graph(), "other": node("LoadModel", model_name="other-512", precision="auto")}, model="other")
    assert "another base model" in comfy.run(sampled(nodes, ["apply", 0], prompt=BEACH)).error


def test_a_photo_that_is_no_picture_is_refused(comfy, pack):
    import torch

    photos = pack("nodes.subject_photos").SubjectPhotos
    with pytest.raises(ValueError, match="no picture"):
        photos.execute(folder=["(connected images)"], class_name=["dog"], photo_1=[torch.zeros(1, 8, 8, 7)])


def test_whether_photos_have_changed_is_asked_without_reading_them(comfy, pack, monkeypatch):
    """ComfyUI asks at every queue, also of a folder with a link to a drive that is away."""
    folder = comfy.base / "input" / "looked at"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"one")
    (folder / "away.png").symlink_to(comfy.base / "no such drive" / "a.png")
    photos = pack("nodes.subject_photos").SubjectPhotos

    def fingerprint():
        return photos.fingerprint_inputs(folder=["looked at"], class_name=["dog"])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", None)
        patch.setattr(Path, "read_bytes", None)
        first = fingerprint()
        assert fingerprint() == first
    (folder / "1.png").write_bytes(b"other")
    second = fingerprint()
    (folder / "1.png").rename(folder / "2.png")
    assert len({str(first), str(second), str(fingerprint())}) == 3


@pytest.mark.parametrize(
    "where, said",
    [
        ("ar_core.model.ARModel.generate", "while drawing. Draw fewer pictures at a time (batch_size), choose int8"),
        ("comfy.model_management.load_models_gpu", "while weights were loaded. Unload other models, choose int8"),
    ],
)
@pytest.mark.parametrize("kind", ["OutOfMemoryError", "AcceleratorError"])
def test_a_card_that_runs_out_of_memory_gives_advice_on_the_node(comfy, pack, monkeypatch, where, said, kind):
    """With cudaMallocAsync torch may say it as an AcceleratorError."""
    import torch

    class AcceleratorError(RuntimeError):
        pass

    def full(*_, **__):
        if kind == "OutOfMemoryError":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total ...")
        raise AcceleratorError("CUDA error: out of memory")

    if where.startswith("ar_core"):
        monkeypatch.setattr(pack("ar_core.model").ARModel, "generate", full)
    else:
        monkeypatch.setattr(where, full)
    outcome = comfy.run(model_only(draw__seed=77))
    assert outcome.texts("draw")[-1].startswith(f"This computer ran out of memory {said}")
    assert "CUDA" not in outcome.texts("draw")[-1] and not outcome.ok


def test_a_card_that_is_full_while_training_advises_on_training(comfy, pack, monkeypatch):
    import torch

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(pack("ar_core.training.loop").Loop, "_gradients", full)
    outcome = Comfy(comfy.base).run(graph(learn__training_seed=98))
    assert outcome.texts("learn")[-1].startswith(
        "This computer ran out of memory while training. Train with the method LoRA"
    )


def test_a_full_disk_names_the_file(comfy, pack, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pack("ar_core.files").os, "fsync", full)
    nodes = {
        "file": node("LoadPersonalization", file="example: lilac_dog"),
        "save": node("SavePersonalization", personalization=["file", 0], name="full", consent="my pet"),
    }
    error = comfy.run(nodes).error
    assert "full.safetensors could not be written (No space left on device)" in error


def test_too_little_memory_is_refused_before_the_start(comfy, pack, monkeypatch, steps):
    class Little:
        available = 1000

    monkeypatch.setattr(pack("ar_core.devices").psutil, "virtual_memory", lambda: Little)
    error = Comfy(comfy.base).run(graph(tune__training_seed=99, tune__method="full q/k/v")).error
    assert "Choose the method LoRA" in error and not [s for s in steps if s > 1]
