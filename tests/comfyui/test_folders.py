"""A user's folders as they are: linked, shared, read-only, full of files; and a server that is ended from outside."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import time
from urllib.request import urlopen

import pytest
from graphs import PACK, graph, node, sampled
from real_server import Server, run

SHIPPED = PACK / "learned_subjects" / "lilac_dog.safetensors"
PHOTOS = PACK / "example_subjects" / "cream_cat"
MINIATURE = PACK / "ar_core" / "miniature" / "weights"


def go(server: Server, nodes: dict, **options):
    return asyncio.run(run(server, nodes, **options))


def choices(server: Server, kind: str, name: str) -> list[str]:
    schema = json.load(urlopen(f"{server.address}/object_info/LuminaMGPT{kind}"))[f"LuminaMGPT{kind}"]
    options = schema["input"]["required"][name]
    return options[1]["options"] if options[0] == "COMBO" else options[0]


def saving(file: str) -> dict:
    """Load a subject, and save it under another name."""
    return {
        "load": node("LoadPersonalization", file=file),
        "save": node("SavePersonalization", personalization=["load", 0], name="mine", consent="my pet"),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With a share in extra_model_paths.yaml, links to models, subjects and photos, and 30,000 pictures in input."""
    base = tmp_path_factory.mktemp("folders")
    share = base / "share"
    (share / "subjects").mkdir(parents=True)
    shutil.copy(SHIPPED, share / "subjects" / "shared.safetensors")
    (base / "extra.yaml").write_text(
        f"ours:\n  base_path: {share.as_posix()}\n  lumina_mgpt_subjects: subjects\n", encoding="utf-8"
    )
    (base / "models/lumina_mgpt").mkdir(parents=True)
    (base / "models/lumina_mgpt_subjects").mkdir()
    (base / "models/lumina_mgpt/linked").symlink_to(MINIATURE, target_is_directory=True)
    (base / "models/lumina_mgpt_subjects/linked.safetensors").symlink_to(SHIPPED)
    many = base / "input/many"
    many.mkdir(parents=True)
    for number in range(30_000):
        (many / f"{number}.png").touch()
    (base / "input/my cat").symlink_to(PHOTOS, target_is_directory=True)
    with Server(base, "--extra-model-paths-config", str(base / "extra.yaml")) as started:
        yield started


def test_links_are_listed_and_work(server):
    assert "linked" in choices(server, "LoadModel", "model_name")
    assert "my cat" in choices(server, "SubjectPhotos", "folder")
    assert "linked.safetensors" in choices(server, "LoadPersonalization", "file")
    nodes = graph(
        steps=1,
        model__model_name="linked",
        photos__folder="my cat",
        photos__class_name="cat",
    )
    seen = go(server, nodes)
    assert seen.end == "execution_success", seen.error or seen.refused


def test_subjects_of_a_share_are_read_and_nothing_is_saved_there(server):
    assert "shared.safetensors" in choices(server, "LoadPersonalization", "file")
    seen = go(server, saving("shared.safetensors"))
    assert seen.end == "execution_success", seen.error or seen.refused
    assert (server.base / "models/lumina_mgpt_subjects/mine.safetensors").is_file()
    assert [path.name for path in (server.base / "share/subjects").iterdir()] == ["shared.safetensors"]
    assert [path.name for path in (server.base / "share").iterdir()] == ["subjects"]
    assert any((server.base / "models/lumina_mgpt_runs").iterdir())


@pytest.mark.parametrize("name", ["../share/subjects/shared.safetensors", "/etc/hostname", "..", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(server, name):
    seen = go(server, {**saving(name), "save": {**saving(name)["save"]}})
    assert seen.refused or "There is no" in seen.error


def test_thirty_thousand_pictures_hold_nobody_up(server):
    json.load(urlopen(f"{server.address}/object_info"))
    began = time.monotonic()
    json.load(urlopen(f"{server.address}/object_info"))
    assert time.monotonic() - began < 5  # 15 to 39 seconds before
    (server.base / "input/new").mkdir()
    shutil.copy(next(PHOTOS.glob("*.png")), server.base / "input/new")
    assert "new" in choices(server, "SubjectPhotos", "folder")


def test_folders_that_cannot_be_made_are_said_at_the_node_that_needs_them(tmp_path):
    (tmp_path / "models").mkdir()
    for name in ("lumina_mgpt", "lumina_mgpt_subjects", "lumina_mgpt_scorers", "lumina_mgpt_runs"):
        (tmp_path / "models" / name).symlink_to(tmp_path / "unplugged" / name)
    with Server(tmp_path) as server:
        assert "IMPORT FAILED" not in server.log
        drawing = {
            "model": node("LoadModel", model_name="miniature (built in)", precision="auto"),
            "draw": node(
                "Sampler",
                ar_model=["model", 0],
                prompt="a photo of a red dog",
                shape="1:1",
                cfg=0.0,
                top_k=0,
                temperature=1.0,
                seed=1,
                batch_size=1,
                decoding="auto",
            ),
            "seen": {"class_type": "PreviewImage", "inputs": {"images": ["draw", 0]}},
        }
        seen = go(server, drawing)
        assert seen.end == "execution_success", seen.error or seen.refused
        seen = go(server, saving("example: lilac_dog"))
        assert "lumina_mgpt_subjects cannot be made" in seen.error
        seen = go(server, graph(steps=1))
        assert "lumina_mgpt_runs" in seen.error and "cannot be made" in seen.error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without telling it")
def test_a_server_that_is_told_to_end_saves_the_training_first(tmp_path):
    """As `docker stop` does."""
    with Server(tmp_path) as server:

        def ends(seen) -> bool:
            if seen.progress > 6 and any("embedding: loss" in text for _, text in seen.texts):
                server.process.send_signal(signal.SIGTERM)
                return True
            return False

        with pytest.raises((AssertionError, OSError)):  # the server goes away
            go(server, graph(steps=3000), interrupt_when=lambda seen: ends(seen) and False)
        server.process.wait(30)
    states = list(tmp_path.glob("models/lumina_mgpt_runs/*embedding*/state.safetensors"))
    assert states, server.log[-2000:]
    from safetensors import safe_open

    with safe_open(states[0], "pt") as file:
        assert int(file.metadata()["step"]) % 50  # not only a step that is kept anyway


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without telling it")
def test_a_server_that_is_told_to_end_saves_the_finished_pictures_first(tmp_path):
    lines = "\n".join(["a photo of a red dog"] * 200)
    nodes = {"model": graph()["model"], "lines": node("Prompts", lines=lines)}
    with Server(tmp_path) as server:

        def ends(seen) -> bool:
            if "prompt 3 of 200" in seen.said("draw"):
                server.process.send_signal(signal.SIGTERM)
            return False

        with pytest.raises((AssertionError, OSError)):  # the server goes away
            go(server, sampled(nodes, ["model", 0], prompt=["lines", 0]), interrupt_when=ends)
        server.process.wait(30)
    assert len(list(tmp_path.glob("output/lumina_mgpt/stopped*.png"))) >= 2, server.log[-2000:]
