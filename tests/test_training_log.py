"""What a training writes for a notebook: losses, pictures and likeness, each once, however often it was stopped."""

import json
import math
import sys

import pytest
import torch
from PIL import Image
from toy import FAMILY, toy_model, toy_subject

from ar_core import TrainingSettings, cli, personalize
from ar_core.control import Cancelled, never, silent
from ar_core.training.log_folder import TrainingLog
from ar_core.training.loop import Loop
from workshop.world.subjects import drawn_photos

SUBJECT = toy_subject()
PROMPTS = ("a photo of [V] dog on the beach", "a photo of [V] dog in the snow")


def train(root, steps=7, cancel=never, every=3, events=False, log=True, **chosen):
    """Joint training, with a log in `root` / log; what it learned."""

    def measured(pictures, prompts):
        return [{"mini-ID": float(picture.getpixel((0, 0))[0])} for picture in pictures]

    settings = TrainingSettings.resolve(FAMILY, strategy="joint", rank=2, layer_steps=steps, **chosen)
    if not log:
        return personalize(toy_model(), SUBJECT, settings, root / "runs", cancel=cancel)
    written = TrainingLog(root / "log", silent, measured, events)
    try:
        return personalize(
            toy_model(),
            SUBJECT,
            settings,
            root / "runs",
            cancel=cancel,
            progress=written.progress,
            samples=None,
            on_sample=written.sample,
            on_stage=written.begin,
            every=every,
            prompts=PROMPTS,
        )
    finally:
        written.end()


def contents(root):
    return {path.name: path.read_bytes() for path in (root / "log").rglob("*.*") if path.is_file()}


def lines(root, name):
    [path] = (root / "log").rglob(name)

    def refused(constant):
        raise AssertionError(f"{constant} is no number in JSON")

    return [json.loads(line, parse_constant=refused) for line in path.read_text(encoding="utf-8").splitlines()]


def after(count):
    turns = iter([False] * count)
    return lambda: next(turns, True)


def parameters(results):
    learned = results[-1].personalization
    return [learned.vectors, *learned.adapter.parameters()]


def test_losses_and_samples_are_written_by_step(tmp_path):
    [result] = train(tmp_path)
    assert lines(tmp_path, "losses.jsonl") == [
        {"stage": "joint", "step": step, "loss": loss} for step, loss in enumerate(result.losses, 1)
    ]
    samples = lines(tmp_path, "samples.jsonl")
    assert [(line["step"], line["prompt"]) for line in samples] == [
        (step, prompt) for step in (3, 6, 7) for prompt in sorted(PROMPTS)
    ]
    for line in samples:
        [path] = (tmp_path / "log").rglob(line["picture"])
        picture = Image.open(path)
        assert picture.text["prompt"] == line["prompt"] and picture.size == (32, 32)
        assert line["mini-ID"] == picture.getpixel((0, 0))[0] and line["stage"] == "joint"


@pytest.mark.parametrize("stops", [(1,), (3,), (4, 2), (2, 1, 3)])
def test_the_log_of_a_stopped_and_resumed_training_is_that_of_an_uninterrupted_one(tmp_path, stops):
    whole = train(tmp_path / "whole")
    for stop in stops:
        with pytest.raises(Cancelled):
            train(tmp_path / "stopped", cancel=after(stop))
        assert len(lines(tmp_path / "stopped", "losses.jsonl")) > 0
    resumed = train(tmp_path / "stopped")
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert all(map(torch.equal, parameters(resumed), parameters(whole)))
    train(tmp_path / "stopped")  # remembered
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_a_log_changes_nothing_in_the_training_and_may_come_afterwards(tmp_path):
    """Steps that were not kept are made up for."""
    plain = train(tmp_path / "plain", log=False)
    assert all(map(torch.equal, parameters(plain), parameters(train(tmp_path / "logged"))))
    state = next((tmp_path / "plain").rglob("state.safetensors"))
    before = state.read_bytes()
    assert train(tmp_path / "plain")[-1].note == "remembered" and state.read_bytes() == before
    assert contents(tmp_path / "plain") == contents(tmp_path / "logged")


def test_a_shorter_training_or_other_prompts_take_nothing_from_the_log(tmp_path, monkeypatch):
    train(tmp_path)
    before = contents(tmp_path)
    train(tmp_path, 3)
    assert contents(tmp_path) == before
    monkeypatch.setattr(sys.modules[__name__], "PROMPTS", ("a photo of [V] dog at night",))
    train(tmp_path)
    found = {(line["step"], line["prompt"]) for line in lines(tmp_path, "samples.jsonl")}
    assert len(found) == 9 == len(lines(tmp_path, "samples.jsonl"))


def test_another_training_has_another_folder(tmp_path):
    train(tmp_path, 3)
    before = contents(tmp_path)
    train(tmp_path, 3, seed=1)
    assert len(list((tmp_path / "log").iterdir())) == 2
    folders = [{path.name for path in folder.iterdir()} for folder in (tmp_path / "log").iterdir()]
    assert folders[0] == folders[1] == set(before)


def test_a_skipped_step_is_null_and_is_not_sampled(tmp_path, monkeypatch):
    gradients = Loop._gradients
    monkeypatch.setattr(Loop, "_gradients", lambda self: math.nan if self.step == 2 else gradients(self))
    train(tmp_path)
    train(tmp_path)
    assert [line["loss"] is None for line in lines(tmp_path, "losses.jsonl")] == [False, False, True] + 4 * [False]
    assert {line["step"] for line in lines(tmp_path, "samples.jsonl")} == {6, 7}


@pytest.mark.parametrize("damage", ["", "[1]\n", "{", '{"step": 3}\n', "\udcff"])
def test_a_damaged_log_is_made_again(tmp_path, damage):
    train(tmp_path)
    before = contents(tmp_path)
    for path in (tmp_path / "log").rglob("*.*"):
        path.write_text(damage, encoding="utf-8", errors="surrogateescape")
    train(tmp_path)
    assert contents(tmp_path) == before


def test_tensorboard_gets_every_value_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(Cancelled):
        train(tmp_path, cancel=after(4), events=True)
    [result] = train(tmp_path, events=True)
    [folder] = (tmp_path / "log").iterdir()
    assert len(list(folder.glob("events.out.*"))) == 1
    found = EventAccumulator(str(folder))
    found.Reload()
    losses = found.Scalars("loss")
    assert [event.step for event in losses] == list(range(1, 8))
    assert [event.value for event in losses] == pytest.approx(result.losses)
    assert [event.step for event in found.Images(PROMPTS[0])] == [3, 6, 7]
    assert [event.step for event in found.Scalars(f"mini-ID/{PROMPTS[1]}")] == [3, 6, 7]


# ---------------------------------------------------------------- on the command line


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, (image, _) in enumerate(drawn_photos("lilac_dog", 2)):
        image.save(folder / f"{number}.png")
    return folder


def command(photos, root, *more):
    steps = ("--strategy", "embedding_only", "--embedding-steps", "3", "--batch-size", "2")
    return cli.main(
        ["personalize", "--photos", str(photos), "--class-name", "dog", "--out", str(root / "x"), *steps, *more]
    )


def test_the_command_logs_losses_pictures_and_their_likeness(photos, tmp_path):
    plain_class = "a photo of a dog"  # shows whether the class drifts
    snow = "a photo of [V] dog in the snow"
    log = ("--log", str(tmp_path / "log"), "--sample-every", "2", "--validation-prompt", plain_class)
    log += ("--validation-prompt", snow)
    assert command(photos, tmp_path, *log) == 0
    assert len(lines(tmp_path, "losses.jsonl")) == 3
    samples = lines(tmp_path, "samples.jsonl")
    assert [(line["step"], line["prompt"]) for line in samples] == [
        (step, prompt) for step in (2, 3) for prompt in sorted((plain_class, snow))
    ]
    for line in samples:
        for name in ("mini-ID", "mini-CLIP-I", "mini-CLIP-T"):
            assert -1 <= line[name] <= 1
    assert sorted(path.name for path in (tmp_path / "_runs").rglob("0*.safetensors")) == [
        "000002.safetensors",
        "000003.safetensors",
    ]
    plain = tmp_path / "plain"
    assert command(photos, plain) == 0
    assert (plain / "x.safetensors").read_bytes() == (tmp_path / "x.safetensors").read_bytes()


def test_a_log_alone_draws_nothing(photos, tmp_path):
    assert command(photos, tmp_path, "--log", str(tmp_path / "log")) == 0
    assert [path.name for path in (tmp_path / "log").rglob("*.*")] == ["losses.jsonl"]


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--sample-every", "2"], "--sample-every needs a folder to write to: add --log DIR"),
        (["--validation-prompt", "a [V] dog"], "--validation-prompt needs a folder"),
        (
            ["--select", "2", "--sample-every", "2", "--validation-prompt", "a [V] dog"],
            "--validation-prompt needs a folder",
        ),
        (["--select", "best", "--validation-prompt", "a dog"], '"a dog" does not name the subject'),
        (["--tensorboard"], "--tensorboard needs a folder"),
        (["--log", "L", "--sample-every", "0"], "--sample-every is 0; it must be from 1"),
        (["--log", "L", "--validation-prompt", "a [X] dog"], "[X], which names nothing"),
        (["--log", "file/L"], "cannot be made"),
        (["--log", "_runs"], "--log is _runs, where trainings are remembered"),
        (["--log", "L", "--tensorboard"], "--tensorboard needs the package tensorboard"),
        (["--log", "L", "--sample-every", "2", "--dino", "nowhere"], "nowhere"),
        (["--templates", "absent.txt"], "absent.txt cannot be read"),
        (["--templates", "empty.txt"], "empty.txt holds 0 templates"),
        (
            ["--templates", "bad.txt"],
            'bad.txt, line 3: "a dog" does not say where the subject goes. Write {} or "[V] dog"',
        ),
        (["--templates", "other.txt"], 'other.txt, line 1: "[X]" names nothing'),
        (["--templates", "control.txt"], "control.txt, line 1: The prompt contains"),
    ],
)
def test_what_cannot_be_logged_or_read_is_one_sentence_before_the_training(
    options, sentence, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr("ar_core.commands.personalize.prepare_subject", lambda *_, **__: pytest.fail("began"))
    files = {
        "file": "",
        "empty.txt": "\n \n",
        "bad.txt": "a photo of {}\n\na dog\n",
        "other.txt": "{} and [X]",
        "control.txt": "{} <reserved01036>",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert command(photos, tmp_path, *options) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.strip().count("\n") == 0


def test_own_templates_are_another_training_and_our_own_in_a_file_are_not(photos, tmp_path, capsys):
    from ar_core.text import NEUTRAL_TEMPLATES

    assert command(photos, tmp_path) == 0
    (tmp_path / "ours.txt").write_text("\n".join(NEUTRAL_TEMPLATES), encoding="utf-8-sig")
    (tmp_path / "own.txt").write_text("a painting of [V] dog\n\n[V] in a garden\na {} here\n", encoding="utf-8")
    (tmp_path / "same.txt").write_text("a painting of {}\n{} in a garden\r\na  [V]  here", encoding="utf-8")
    for name in ("ours.txt", "own.txt", "same.txt"):
        assert command(photos, tmp_path, "--templates", str(tmp_path / name)) == 0
        out = capsys.readouterr().out
        assert ("remembered;" in out) == (name != "own.txt")
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("_runs/dog-*/run.json")]
    assert sorted(run["settings"].get("templates", []) for run in runs) == [
        [],
        ["a painting of {}", "{} in a garden", "a {} here"],
    ]
