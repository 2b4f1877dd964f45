"""The commands as their user runs them, on the miniature that ships."""

import json
import signal

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ar_core import cli
from ar_core.commands.shared import Bar
from ar_core.families.miniature import MINIATURE
from ar_core.model import MINIATURE_FOLDER
from workshop.world.subjects import photos_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Dog ü 狗")
    for number, (image, _) in enumerate(photos_of("lilac_dog", 3)):
        image.save(folder / f"{number}.png")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


@pytest.fixture(scope="module")
def subject(photos):
    out = photos.parent / "subjects" / "lilac.safetensors"
    assert personalize(photos, out) == 0
    return out


def personalize(photos, out, *more):
    return cli.main(
        [
            "personalize",
            "--photos",
            str(photos),
            "--class-name",
            "dog",
            "--out",
            str(out),
            "--embedding-steps",
            "3",
            "--layer-steps",
            "2",
            *more,
        ]
    )


def sample(out, *more):
    return cli.main(["sample", "--prompt", "a photo of [V] dog on the beach", "--seed", "1", "--out", str(out), *more])


def test_the_whole_job(photos, subject, tmp_path, capsys):
    assert sample(tmp_path, "--personalization", str(subject), "--n", "2") == 0
    pictures = sorted(tmp_path.glob("*.png"))
    assert [p.name for p in pictures] == ["00_1_00.png", "00_1_01.png"]
    image = Image.open(pictures[0])
    assert image.size == MINIATURE.recipe.size
    assert image.text["prompt"] == "a photo of [V] dog on the beach"
    settings = json.loads(image.text["settings"])
    assert settings["cfg"] == 2.0 and settings["top_k"] == 20 and settings["seed"] == 1
    assert settings["personalizations"] == [{"identifier": "[V]", "class": "dog", "strength": 1.0}]
    assert "trainedAlgorithmicMedia" in image.text["DigitalSourceType"]
    assert str(photos) not in str(image.text)
    assert "prompt: a photo of [V] dog on the beach" in capsys.readouterr().out


def test_a_second_run_repeats_no_step(photos, subject, capsys):
    before = load_file(subject)
    assert personalize(photos, subject) == 0
    out = capsys.readouterr().out
    assert out.count("remembered;") == 2 and ".DS_Store: skipped, hidden file" in out
    assert all(torch.equal(tensor, before[key]) for key, tensor in load_file(subject).items())


def test_ctrl_c_keeps_the_work_and_the_same_command_goes_on(photos, tmp_path, capsys, monkeypatch):
    show = Bar.__call__

    def press_ctrl_c(bar, done, total, message):
        show(bar, done, total, message)
        if message.startswith("embedding") and done == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Bar, "__call__", press_ctrl_c)
    assert personalize(photos, tmp_path / "x", "--strategy", "embedding_only") == 130
    assert "after 2 of 3 steps" in capsys.readouterr().err and not list(tmp_path.glob("x*"))
    monkeypatch.undo()
    assert personalize(photos, tmp_path / "x", "--strategy", "embedding_only") == 0
    assert "went on from step 2" in capsys.readouterr().out
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_the_same_seed_gives_the_same_pixels_in_a_batch_of_one(subject, tmp_path):
    sample(tmp_path / "a", "--personalization", str(subject))
    sample(tmp_path / "b", "--personalization", str(subject))
    assert Image.open(tmp_path / "a/00_1_00.png").tobytes() == Image.open(tmp_path / "b/00_1_00.png").tobytes()


def test_resolved_values_are_printed(photos, tmp_path, capsys):
    personalize(photos, tmp_path / "x", "--strategy", "embedding_only")
    out = capsys.readouterr().out
    assert "strategy embedding_only" in out and "embedding_learning_rate 0.01" in out and "rank 8" in out


def test_info(subject, capsys):
    assert cli.main(["info", str(subject)]) == 0
    assert "[V] dog: 1 vector(s) + lora" in capsys.readouterr().out
    assert cli.main(["info", "--recipe", "paper"]) == 0
    out = capsys.readouterr().out
    assert "embedding_steps            1500" in out and "our assumption" in out and "stated" in out
    assert cli.main(["info"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


def test_forget(photos, tmp_path, capsys):
    personalize(photos, tmp_path / "x", "--strategy", "embedding_only")
    assert cli.main(["forget", str(tmp_path / "_runs")]) == 0
    assert "deleted 2 remembered" in capsys.readouterr().out
    assert not list((tmp_path / "_runs").iterdir())


@pytest.mark.parametrize(
    "command, sentence",
    [
        (["sample", "--prompt", "a [V] dog"], "not personalized"),
        (["sample", "--prompt", "a <reserved01036>"], "control token"),
        (["sample", "--prompt", "a dog", "--n", "0"], "--n is 0"),
        (["sample", "--prompt", "a dog", "--temperature", "-1"], "temperature is -1"),
        (
            ["sample", "--prompt", "a dog", "--personalization", "absent.safetensors"],
            "absent.safetensors does not exist",
        ),
        (["sample", "--prompt", "a dog", "--model", "no such folder"], "no such folder"),
        (["personalize", "--photos", "nowhere", "--class-name", "dog", "--out", "x"], "nowhere"),
        (["info", "README.md"], "README.md"),
    ],
)
def test_bad_input_is_one_sentence(command, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("no tensors here")
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and sentence in error and error.strip().count("\n") == 0
    assert not list(tmp_path.rglob("*.png"))


def test_the_miniature_is_small_enough_to_ship():
    files = list(MINIATURE_FOLDER.iterdir())
    assert sum(f.stat().st_size for f in files) < 20 * 2**20
