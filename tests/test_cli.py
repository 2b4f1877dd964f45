"""The commands as their user runs them, on the miniature that ships."""

import errno
import io
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ar_core import SamplingSettings, TrainingSettings, cli
from ar_core.commands.options import chosen_settings
from ar_core.commands.shared import Bar
from ar_core.devices import default_device
from ar_core.families.lumina_mgpt import PAPER_RECIPE
from ar_core.families.miniature import MINIATURE
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.personalization import Personalization
from ar_core.photos import find_files
from workshop.world.subjects import drawn_photos

SAVED_RUNS = Path(__file__).parent / "fixtures" / "saved_0f6fd39" / "subjects" / "_runs"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Dog ü 狗")
    for number, (image, _) in enumerate(drawn_photos("lilac_dog", 3)):
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


def test_nothing_is_overwritten_by_a_second_call(photos, subject, tmp_path, capsys):
    drawn = tmp_path / "drawn"
    for _ in range(2):
        assert sample(drawn, "--personalization", str(subject)) == 0
    assert sorted(p.name for p in drawn.glob("*.png")) == ["00_1_00.png", "00_1_00_2.png"]
    before = subject.read_bytes()
    assert personalize(photos, subject, "--identifier", "[W]") == 0  # another subject under the same name
    assert subject.read_bytes() == before and "lilac_2.safetensors" in capsys.readouterr().out
    assert personalize(photos, subject, "--identifier", "[W]") == 0
    assert "lilac_2.safetensors already holds this subject" in capsys.readouterr().out
    for _ in range(2):
        score = ["score", "--images", str(drawn), "--photos", str(photos), "--encoders", "miniature"]
        assert cli.main([*score, "--out", str(tmp_path / "scores")]) == 0
    assert (tmp_path / "scores/scores.json").is_file() and (tmp_path / "scores_2/scores.json").is_file()


def test_an_existing_folder_gets_a_file_called_like_the_class(photos, tmp_path):
    files = sorted(photos.glob("*.png"))
    (tmp_path / "subjects").mkdir()
    steps = ["--embedding-steps", "1", "--strategy", "embedding_only"]
    command = ["personalize", "--photos", *map(str, files[:2]), "--class-name", "AC\\DC dog"]
    assert cli.main([*command, "--out", str(tmp_path / "subjects") + "/", *steps]) == 0
    assert [p.name for p in tmp_path.rglob("*.safetensors") if "_runs" not in p.parts] == ["AC_DC_dog.safetensors"]


def test_a_folder_that_is_not_there_yet_is_one_by_its_slash(photos, tmp_path):
    steps = ("--embedding-steps", "1", "--strategy", "embedding_only")
    assert personalize(photos, f"{tmp_path}/new/subjects/", *steps) == 0
    assert [p.name for p in (tmp_path / "new/subjects").glob("*.safetensors")] == ["dog.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="names have other limits there")
def test_what_cannot_be_written_is_said_before_the_training(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ar_core.commands.personalize.prepare_subject", lambda *_, **__: pytest.fail("began"))
    assert personalize(photos, tmp_path / ("x" * 250)) == 1  # with .safetensors too long
    said = capsys.readouterr().err
    assert "cannot be written (File name too long). Choose another name" in said and said.strip().count("\n") == 0
    (tmp_path / "file").touch()
    assert personalize(photos, tmp_path / "file/x") == 1
    assert "file cannot be made (" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_that_the_system_cannot_take_is_one_sentence(capsys):
    assert cli.main(["info", "--model", "x" * 5000]) == 1
    said = capsys.readouterr().err
    assert "Errno" not in said and said.startswith("error: ") and said.strip().count("\n") == 0


def test_all_prompts_are_checked_before_the_first_is_drawn(tmp_path, capsys):
    prompts = ["--prompt", "a red dog", "--prompt", "a [X] dog"]
    assert cli.main(["sample", *prompts, "--out", str(tmp_path / "drawn")]) == 1
    assert "[X], which names nothing" in capsys.readouterr().err and not (tmp_path / "drawn").exists()


def test_one_picture_of_a_batch_can_be_drawn_alone(subject, tmp_path):
    window = ("--window", "4", "--personalization", str(subject))
    assert sample(tmp_path / "batch", "--n", "3", *window) == 0
    assert sample(tmp_path / "alone", "--first-image", "2", *window) == 0
    assert [p.name for p in (tmp_path / "alone").glob("*.png")] == ["00_1_02.png"]
    pixels = [Image.open(tmp_path / name / "00_1_02.png").tobytes() for name in ("batch", "alone")]
    assert pixels[0] == pixels[1]


def test_resolved_values_are_printed(photos, tmp_path, capsys):
    personalize(photos, tmp_path / "x", "--strategy", "embedding_only")
    out = capsys.readouterr().out
    assert "learns no deep concept" not in out
    assert "strategy embedding_only" in out and "embedding_learning_rate 0.01" in out and "rank 8" in out


def test_settings_of_a_deep_concept_that_is_not_learned_are_said(photos, tmp_path, capsys):
    personalize(photos, tmp_path / "x", "--strategy", "embedding_only", "--depth", "3", "--no-image-concept")
    said = "note: embedding_only learns no deep concept, so nothing changes by --depth, --image-concept."
    assert said in capsys.readouterr().out


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
    (tmp_path / "_runs" / "mythesis").mkdir()
    (tmp_path / "_runs" / "mythesis" / "run.json").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["forget", str(tmp_path / "_runs"), "--yes"]) == 0
    out = capsys.readouterr().out
    assert "deleted 2 remembered" in out and "note: mythesis stays" in out
    assert re.search(r"^dog-embedding-[0-9a-f]{16}, embedding, step 3, \d+ KiB, 0 day\(s\) old$", out, re.MULTILINE)
    assert [path.name for path in (tmp_path / "_runs").iterdir()] == ["mythesis"]


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self):
        return True


@pytest.mark.parametrize("typed, deleted", [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_forget_lists_and_asks_before_it_deletes(typed, deleted, tmp_path, capsys, monkeypatch):
    shutil.copytree(SAVED_RUNS, tmp_path / "_runs")
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert cli.main(["forget", str(tmp_path / "_runs")]) == 0
    out = capsys.readouterr().out
    assert out.index("dog-joint-8a6e1062e2914f51, joint, step 2, ") < out.index("Delete 14 remembered training(s) in ")
    assert bool(list((tmp_path / "_runs").iterdir())) != deleted
    assert ("Nothing was deleted" in out) != deleted


@pytest.mark.parametrize("stdin", [io.StringIO("y\n"), None])
def test_forget_deletes_nothing_where_nobody_can_be_asked(stdin, tmp_path, capsys, monkeypatch):
    shutil.copytree(SAVED_RUNS, tmp_path / "_runs")
    monkeypatch.setattr("sys.stdin", stdin)
    assert cli.main(["forget", str(tmp_path / "_runs")]) == 1
    captured = capsys.readouterr()
    assert "dog-joint-8a6e1062e2914f51" in captured.out
    assert "Nothing was deleted in" in captured.err and "Add --yes" in captured.err
    assert len(list((tmp_path / "_runs").iterdir())) == 14


def test_forget_of_a_wrong_folder_deletes_nothing_and_says_so(tmp_path, capsys):
    (tmp_path / "subjects" / "_runs").mkdir(parents=True)
    assert cli.main(["forget", str(tmp_path / "nowhere")]) == 1 and "There is no folder" in capsys.readouterr().err
    assert cli.main(["forget", str(tmp_path / "subjects")]) == 1
    assert str(tmp_path / "subjects" / "_runs") in capsys.readouterr().err


@pytest.mark.skipif(default_device() != "cpu", reason="the sentence is for machines without a graphics card")
@pytest.mark.parametrize("device", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_is_one_sentence(device, capsys):
    assert cli.main(["sample", "--prompt", "a dog", "--device", device]) == 1
    assert capsys.readouterr().err.strip() == (
        f'error: There is no device "{device}" here. Use --device cpu, or leave the option out.'
    )


@pytest.mark.parametrize(
    "command, sentence",
    [
        (["sample", "--prompt", "a [V] dog"], "not personalized"),
        (["sample", "--prompt", "a <reserved01036>"], "control token"),
        (["sample", "--prompt", "a dog", "--n", "0"], "--n is 0"),
        (["sample", "--prompt", "a dog", "--temperature", "-1"], "temperature is -1"),
        (["sample", "--prompt", "a dog", "--temperature", "nan"], "temperature is nan"),
        (["sample", "--prompt", "a dog", "--cfg", "inf"], "cfg is inf"),
        (["sample", "--prompt", "a dog", "--cfg", "1e30"], "cfg is 1e+30"),
        (["sample", "--prompt", "a dog", "--first-image", "-1"], "--first-image is -1"),
        (
            ["sample", "--prompt", "a dog", "--personalization", "absent.safetensors"],
            "absent.safetensors does not exist",
        ),
        (["sample", "--prompt", "a dog", "--model", "no such folder"], "no such folder"),
        (["personalize", "--photos", "nowhere", "--class-name", "dog", "--out", "x"], "nowhere"),
        (["info", "README.md"], "README.md"),
        (["sample", "--prompt", "a dog", "--temperature", "0"], "--temperature is 0; it must be above 0"),
        (["sample", "--prompt", "a dog", "--out", "README.md/drawn"], "README.md"),
        (["sample", "--prompt", "a dog", "--out", "README.md"], "README.md"),
        (["demo", "--out", "README.md"], "README.md"),
    ],
)
def test_bad_input_is_one_sentence(command, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("no tensors here")
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and sentence in error and error.strip().count("\n") == 0
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    "command",
    [
        ["personalize", "--photos", "p", "--class-name", "dog", "--out", ""],
        ["personalize", "--photos", "p", "--class-name", "dog", "--out", "x", "--log", ""],
        ["sample", "--prompt", "a dog", "--out", ""],
        ["demo", "--out", ""],
        ["score", "--images", "i", "--photos", "p", "--out", ""],
        ["dreambench", "--data", "miniature", "--out", ""],
        ["forget", ""],
    ],
)
def test_an_empty_name_of_a_folder_is_refused(command, tmp_path, capsys, monkeypatch):
    """It would be the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    assert ended.value.code == 2 and not list(tmp_path.iterdir())
    assert (
        capsys.readouterr()
        .err.strip()
        .splitlines()[-1]
        .endswith("it is empty, which is no name of a file or a folder; write . for the folder that you are in")
    )


def test_photos_without_a_class_word_are_of_a_style(photos, tmp_path, capsys):
    out = tmp_path / "subjects"
    assert personalize(photos, f"{out}/", "--class-name", "") == 1
    assert "a style is learned, which the strategy two_stage cannot" in capsys.readouterr().err
    assert not out.exists()
    assert personalize(photos, f"{out}/", "--class-name", "", "--strategy", "deep", "--deep-steps", "1") == 0
    assert Personalization.load(out / "style.safetensors").class_name == ""


@pytest.mark.parametrize("command", ["sample", "demo"])
def test_a_folder_that_takes_no_pictures_is_refused_before_the_work(command, tmp_path, capsys, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("ar_core.files.os.fsync", refused)
    monkeypatch.setattr(ARModel, "generate", lambda *_, **__: pytest.fail("began"))
    monkeypatch.setattr("ar_core.commands.demo.prepare_subject", lambda *_, **__: pytest.fail("began"))
    arguments = {"sample": ["--prompt", "a red dog"], "demo": []}[command]
    assert cli.main([command, *arguments, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "cannot be written (Permission denied). Choose another name" in said and said.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_zero_codes_are_the_recipes_and_that_is_said(tmp_path, capsys):
    assert cli.main(["sample", "--prompt", "a red dog", "--top-k", "0", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "top_k 20," in out and "note: --top-k 0 takes the recipe's, 20." in out


def test_the_likeliest_code_everywhere_is_drawn_with_one_code_to_choose_from(tmp_path):
    for seed in ("1", "2"):
        command = ["sample", "--prompt", "a red dog", "--top-k", "1", "--seed", seed, "--window", "1"]
        assert cli.main([*command, "--out", str(tmp_path)]) == 0
    pictures = [Image.open(path).tobytes() for path in sorted(tmp_path.glob("*.png"))]
    assert len(pictures) == 2 and pictures[0] == pictures[1]


def test_a_subject_that_no_prompt_names_is_said(subject, tmp_path, capsys):
    applied = ["--personalization", str(subject), "--out", str(tmp_path)]
    assert cli.main(["sample", "--prompt", "a photo of a dog", *applied]) == 0
    assert "note: No prompt names [V]: write [V] dog to draw it." in capsys.readouterr().out
    assert cli.main(["sample", "--prompt", "a photo of a dog", *applied, "--strength", "0"]) == 0
    assert "No prompt names" not in capsys.readouterr().out


def test_another_size_than_was_asked_for_is_said(photos, tmp_path, capsys):
    sentence = "does not draw 300x200; 96x96 is the nearest that it does"
    assert cli.main(["sample", "--prompt", "a red dog", "--size", "300x200", "--out", str(tmp_path)]) == 0
    assert sentence in capsys.readouterr().out
    assert personalize(photos, tmp_path / "x", "--size", "300x200", "--strategy", "embedding_only") == 0
    assert sentence in capsys.readouterr().out


@pytest.mark.parametrize("rank", ["257", "4096", "100000"])
def test_a_rank_that_no_layer_can_use_is_refused_with_the_largest_that_one_can(rank, photos, tmp_path, capsys):
    assert personalize(photos, tmp_path / "x", "--rank", rank) == 1
    said = capsys.readouterr().err
    width = json.loads((MINIATURE_FOLDER / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    assert f"--rank is {rank}" in said and f"{width} is the largest rank that changes anything" in said
    assert not list(tmp_path.iterdir())


def test_more_photos_than_tokens_for_them_are_refused_before_they_are_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ar_core.commands.personalize.prepare_subject", lambda *_, **__: pytest.fail("began"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(70):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number}.png")
    assert personalize(folder, tmp_path / "x", "--per-image-token") == 1
    said = capsys.readouterr().err
    assert "room for 63 photos, and there are 70" in said and "--no-per-image-token" in said
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_help_of_a_benchmark_that_writes_gigabytes_writes_nothing(tmp_path):
    command = [sys.executable, "-m", "benchmarks.random_checkpoint", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("usage: ") and not list(tmp_path.iterdir())


@pytest.mark.parametrize("message", ["reading photos", "embedding", "joint", "sampling"])
def test_ctrl_c_ends_the_demo_quietly_and_leaves_nothing_half_written(message, tmp_path, capsys, monkeypatch):
    show = Bar.__call__
    pressed = []

    def press_ctrl_c(bar, done, total, said):
        show(bar, done, total, said)
        if said.startswith(message) and not pressed:
            pressed.append(done)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Bar, "__call__", press_ctrl_c)
    resolve = TrainingSettings.resolve
    few = {"embedding_steps": 2, "layer_steps": 2, "batch_size": 1}
    monkeypatch.setattr(TrainingSettings, "resolve", lambda family, **chosen: resolve(family, **{**few, **chosen}))
    assert cli.main(["demo", "--out", str(tmp_path / "demo")]) == 130
    said = capsys.readouterr().err
    assert "Stopped at your request" in said and "Traceback" not in said and pressed
    assert {path.name for path in (tmp_path / "demo").iterdir()} <= {"_runs", "subject.safetensors"}
    assert not list(tmp_path.rglob("*.partial"))


def test_the_miniature_is_small_enough_to_ship():
    files = list(MINIATURE_FOLDER.iterdir())
    assert sum(f.stat().st_size for f in files) < 20 * 2**20


MODEL = "--model folder --family miniature --vq v.safetensors --tokenizer t.json --device cpu --precision int8"
MODEL_VALUES = {
    "model": "folder",
    "family": "miniature",
    "vq": Path("v.safetensors"),
    "tokenizer": Path("t.json"),
    "device": "cpu",
    "precision": "int8",
}
ENCODERS = "--encoders miniature --dino d --clip c"
ENCODER_VALUES = {"encoders": "miniature", "dino": "d", "clip": "c"}

# Every option of version 0.1 in users' scripts, and what it means to the command.
VERSION_0_1 = {
    f"""personalize {MODEL} --photos p --class-name dog --identifier [W] --out o.safetensors --strategy joint
    --method full --recipe paper --runs r --size 64X32 --seed 3 --embedding-steps 4 --layer-steps 5
    --embedding-learning-rate 1e-2 --layer-learning-rate 1e-3 --rank 6 --vectors 2 --batch-size 7 --micro-batch 8
    --prior-weight 0.5 --prior-images 9 --initialisation random --per-image-token --no-prior-preservation
    --gradient-checkpointing""": {
        **MODEL_VALUES,
        "photos": [Path("p")],
        "class_name": "dog",
        "identifier": "[W]",
        "out": Path("o.safetensors"),
        "strategy": "joint",
        "method": "full",
        "recipe": "paper",
        "runs": Path("r"),
        "size": (64, 32),
        "seed": 3,
        "embedding_steps": 4,
        "layer_steps": 5,
        "embedding_learning_rate": 0.01,
        "layer_learning_rate": 0.001,
        "rank": 6,
        "vectors": 2,
        "batch_size": 7,
        "micro_batch": 8,
        "prior_weight": 0.5,
        "prior_images": 9,
        "initialisation": "random",
        "per_image_token": True,
        "prior_preservation": False,
        "gradient_checkpointing": True,
    },
    f"""sample {MODEL} --personalization a --personalization b --identifier [V] --identifier [W] --strength 1
    --strength 0.5 --prompt "a dog" --prompt "a cat" --n 2 --cfg 3 --top-k 10 --temperature 0.9 --size 96x96 --seed 4
    --out o --cuda-graphs --compile""": {
        **MODEL_VALUES,
        "personalization": [Path("a"), Path("b")],
        "identifier": ["[V]", "[W]"],
        "strength": [1.0, 0.5],
        "prompt": ["a dog", "a cat"],
        "n": 2,
        "cfg": 3.0,
        "top_k": 10,
        "temperature": 0.9,
        "size": (96, 96),
        "seed": 4,
        "out": Path("o"),
        "cuda_graphs": True,
        "compile": True,
    },
    f"info a.safetensors {MODEL} --recipe auto": {**MODEL_VALUES, "file": Path("a.safetensors"), "recipe": "auto"},
    "demo --out o --photos p --class-name cat": {"out": Path("o"), "photos": Path("p"), "class_name": "cat"},
    f"""score --images i --data d --table t.csv --class-images c {ENCODERS} --device cpu --method mine --out o""": {
        **ENCODER_VALUES,
        "images": ["i"],
        "data": Path("d"),
        "table": Path("t.csv"),
        "class_images": Path("c"),
        "device": "cpu",
        "method": "mine",
        "out": Path("o"),
    },
    "score --images i --photos p": {"photos": Path("p"), "data": None},
    f"""dreambench {MODEL} --data d --strategies joint,base --images-per-prompt 4 --subjects dog,cat --embedding-steps 1
    --layer-steps 2 --seeds 0,1 --threads 2 --dry-run --no-scores {ENCODERS} --out o""": {
        **MODEL_VALUES,
        **ENCODER_VALUES,
        "data": Path("d"),
        "strategies": "joint,base",
        "images_per_prompt": 4,
        "subjects": "dog,cat",
        "embedding_steps": 1,
        "layer_steps": 2,
        "seeds": "0,1",
        "threads": 2,
        "dry_run": True,
        "no_scores": True,
        "out": Path("o"),
    },
    "forget r": {"runs": Path("r")},
}


@pytest.mark.parametrize("line", VERSION_0_1, ids=lambda line: line.split()[0])
def test_options_of_version_0_1_mean_what_they_meant(line):
    options = vars(cli.parser().parse_args(shlex.split(line)))
    expected = VERSION_0_1[line]
    assert {name: options[name] for name in expected} == expected


def test_what_is_not_given_is_left_to_the_recipe():
    options = cli.parser().parse_args(["personalize", "--photos", "p", "--class-name", "dog", "--out", "o"])
    assert chosen_settings(options, TrainingSettings) == {}
    assert (options.recipe, options.identifier, options.runs, options.size) == ("auto", "[V]", None, None)
    settings = TrainingSettings.resolve(MINIATURE)
    assert (settings.strategy, settings.method, settings.seed) == ("two_stage", "lora", 0)
    options = cli.parser().parse_args(["sample", "--prompt", "a dog"])
    assert chosen_settings(options, SamplingSettings) == {}
    assert (options.out, options.n, SamplingSettings.resolve(MINIATURE).seed) == (Path("output"), 1, 0)


@pytest.mark.parametrize("command, settings", [("personalize", TrainingSettings), ("sample", SamplingSettings)])
def test_help_explains_every_setting(command, settings, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    text = unbroken(capsys.readouterr().out)
    assert unbroken("default: the recipe's") in text and "default:0" in text
    for field in fields(settings):
        assert f"--{field.name.replace('_', '-')}" in text
        assert unbroken(field.metadata["help"]) in text


def unbroken(text: str) -> str:
    """Without spaces and line ends, wherever --help breaks its lines."""
    return "".join(text.split())


def test_help_lists_the_commands_under_the_name_they_were_called_by(capsys):
    for name, program in ((cli.PROGRAM, {}), ("python -m ar_core", {"program": "python -m ar_core"})):
        with pytest.raises(SystemExit):
            cli.main(["--help"], **program)
        text = capsys.readouterr().out
        assert text.startswith(f"usage: {name} ")
        assert all(command.name in text and command.help.split(";")[0] in text for command in cli.COMMANDS)


def test_the_papers_recipe_is_taken_in_full_when_training(photos, tmp_path, capsys):
    assert personalize(photos, tmp_path / "x", "--recipe", "paper", "--batch-size", "2") == 0
    out = capsys.readouterr().out
    resolved = out[out.index("training:") :].splitlines()[0]
    for value in ("batch_size 2", "micro_batch 1", "gradient_checkpointing True", "rank 64", "initialisation random"):
        assert value in resolved
    recipe = json.loads(next((tmp_path / "_runs").glob("photos*/*.json")).read_text())
    assert recipe["views"][0] == PAPER_RECIPE.views


def test_the_papers_recipe_is_taken_in_full_when_sampling(tmp_path, capsys):
    command = ["sample", "--prompt", "a red dog", "--recipe", "paper", "--temperature", "0.9", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    codes = MINIATURE.codes  # fewer than the paper's top-k
    assert f"cfg 4.0, top_k {codes}, temperature 0.9, size 96x96" in capsys.readouterr().out


def test_verbose_prints_the_log_of_the_engine_alone(tmp_path, capsys, monkeypatch):
    engine = logging.getLogger("ar_core")
    monkeypatch.setattr(engine, "handlers", [])
    monkeypatch.setattr(engine, "level", logging.NOTSET)
    before = list(logging.getLogger().handlers)
    assert cli.main(["forget", str(tmp_path), "--verbose"]) == 0
    logging.getLogger("ar_core.model").info("loaded")
    logging.getLogger("elsewhere").warning("not ours")
    assert "ar_core.model: loaded" in capsys.readouterr().err
    assert logging.getLogger().handlers == before


def test_a_subject_that_names_another_place_writes_nothing_there(tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (64, 64), "red").save(pictures / "a.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "mine.png")
    before = (tmp_path / "mine.png").read_bytes()
    for name in (str(tmp_path / "mine"), "../mine", "a/b", "x" * 300):
        (pictures / "pictures.csv").write_text(f"file,subject,prompt\na.png,{name},a dog\n", encoding="utf-8")
        arguments = ["score", "--photos", str(pictures), "--images", str(pictures), "--encoders", "miniature"]
        assert cli.main([*arguments, "--out", str(tmp_path / "out" / "scores")]) == 1
        assert "cannot be part of a file name" in capsys.readouterr().err
    assert (tmp_path / "mine.png").read_bytes() == before and not (tmp_path / "out").exists()


@pytest.mark.parametrize("threads", ["0", "-1", "100000"])
def test_threads_are_as_many_as_there_are_processors(threads, tmp_path, capsys):
    assert (
        cli.main(["dreambench", "--data", "miniature", "--out", str(tmp_path), "--dry-run", "--threads", threads]) == 1
    )
    assert f"--threads is {threads}; it must be from 1 to" in capsys.readouterr().err


def test_a_strength_without_a_personalization_is_refused(tmp_path, capsys):
    assert cli.main(["sample", "--prompt", "a dog", "--strength", "0.5", "--out", str(tmp_path)]) == 1
    assert "--strength was given 1 times, --personalization 0 times" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_photos_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    assert [path.name for path in find_files(tmp_path)] == ["a.png"]
