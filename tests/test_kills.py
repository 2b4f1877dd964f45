"""A process that ends in the middle of any write: what was learned is the same to the last bit, nothing is left."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file
from toy import FAMILY, toy_model, toy_subject

from ar_core import TrainingSettings, files, personalize
from ar_core.files import UnwritableFile

KILLS = int(os.environ.get("AR_KILLS", "24"))  # in so many places; 1000: before and after every write
KILLS_ON = {"toy": KILLS, "toy_janus": KILLS // 6}  # the second is another family, with the same writes
RESERVE = "state.previous.safetensors"
ROOT = Path(__file__).resolve().parents[1]
CHOSEN = {"embedding_steps": 4, "layer_steps": 5, "rank": 2, "prior_preservation": True, "prior_images": 2}

# For each line with a folder, a number and "before" or "after" a process of its own, which trains and saves there. It
# ends itself at that call of one of the system's functions that write. It answers how it ended, after how many calls,
# and what it raised. Forked, because to import torch takes longer than all else.
PROGRAM = """
import json, os, signal, sys, tempfile, traceback
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
import torch
torch.set_num_threads(1)
from dataclasses import replace
from pathlib import Path
from TOY import FAMILY, toy_model, toy_subject
from ar_core import TrainingSettings, personalize
from ar_core.training import stages
stages.KEEP_EVERY = {name: 2 for name in stages.KEEP_EVERY}
settings = TrainingSettings.resolve(FAMILY, **CHOSEN)
count = 0

def learn(folder):
    [*_, result] = personalize(toy_model(), toy_subject(), settings, folder / "runs", samples=2)
    result.personalization.save_beside(folder / "dog.safetensors")
    [*_, fewer] = personalize(toy_model(), toy_subject(), replace(settings, layer_steps=3), folder / "runs")
    fewer.personalization.save_beside(folder / "fewer.safetensors")

def ending(call, last, how, counts=lambda *arguments, **options: True):
    def counted(*arguments, **options):
        global count
        if not counts(*arguments, **options):
            return call(*arguments, **options)
        count += 1
        number = count  # a call may make others before it ends
        if number == last and how == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*arguments, **options)
        finally:  # a call may also fail: the folder above is missing, there is such a file
            if number == last and how == "after":
                os.kill(os.getpid(), signal.SIGKILL)
    return counted

def makes_a_file(path, mode="r", *arguments, **options):
    return "x" in mode or "w" in mode

def child(folder, last, how, answer):
    for name in ("replace", "fsync", "link", "rename", "utime"):
        setattr(os, name, ending(getattr(os, name), last, how))
    Path.mkdir, Path.unlink = ending(Path.mkdir, last, how), ending(Path.unlink, last, how)
    Path.open = ending(Path.open, last, how, makes_a_file)
    error = ""
    try:
        learn(Path(folder))
    except BaseException:
        error = traceback.format_exc()
    os.write(answer, json.dumps([count, error]).encode())
    os._exit(1 if error else 0)

with tempfile.TemporaryDirectory() as folder:
    learn(Path(folder))  # imports what is imported late
for line in sys.stdin:
    here, there = os.pipe()
    process = os.fork()
    if process == 0:
        child(*json.loads(line), there)
    os.close(there)
    with open(here) as answer:
        said = answer.read()
    _, status = os.waitpid(process, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), *json.loads(said or '[0, ""]')]), flush=True)
"""

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")


@dataclass(frozen=True)
class Ended:
    """How a training's process ended; `writes`: how often it called what writes, 0 where it was killed."""

    code: int
    writes: int
    error: str


@pytest.fixture(scope="module", params=KILLS_ON)
def toy(request):
    """The module of the model that is trained."""
    return request.param


@pytest.fixture(scope="module")
def train(toy):
    """Train and save in a folder, and be killed `how` ("before" or "after") at the `last` call of what writes."""
    program = PROGRAM.replace("**CHOSEN", f"**{CHOSEN!r}").replace("TOY", toy)
    command = [sys.executable, "-c", program, str(ROOT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def trained(folder, last=0, how="before"):
            process.stdin.write(json.dumps([str(folder), last, how]) + "\n")
            process.stdin.flush()
            return Ended(*json.loads(process.stdout.readline()))

        yield trained
        process.stdin.close()


def contents(folder):
    """Every file by its name below `folder`, as bytes that do not depend on where that is."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): without_place(path.read_bytes(), folder) for path in paths}


def without_place(content, folder):
    """READ ME.txt names the folder."""
    return content.replace(str(folder).encode(), b"<folder>")


@FORKS
def test_a_kill_at_any_write_changes_no_bit_and_leaves_nothing(tmp_path, train, toy):
    """One training after the other is killed at another of its writes, before it and after it, and goes on."""
    whole = train(tmp_path / "whole")
    assert whole.code == 0, whole.error
    writes = whole.writes
    assert writes > 90
    expected = contents(tmp_path / "whole")
    places = [(last, how) for last in range(1, writes + 1) for how in ("before", "after")]
    chosen = places
    kills = KILLS_ON[toy]
    if len(places) > kills:
        chosen = [places[number * len(places) // kills] for number in range(kills)]
    for last, how in chosen:
        folder = tmp_path / f"killed {how} {last}"
        killed = train(folder, last, how)
        assert killed.code == -signal.SIGKILL, killed.error
        ended = train(folder)
        assert ended.code == 0, f"{how} write {last}: {ended.error}"
        check_equal(contents(folder), expected, f"{how} write {last}")


@FORKS
def test_a_training_that_is_killed_again_and_again_ends_the_same(tmp_path, train):
    whole = train(tmp_path / "whole")
    folder = tmp_path / "killed"
    kills = 0
    while (ended := train(folder, 23)).code == -signal.SIGKILL:
        kills += 1
    assert ended.code == 0, ended.error
    assert kills > 2 and whole.code == 0
    check_equal(contents(folder), contents(tmp_path / "whole"), "again and again")


def check_equal(found, expected, where):
    """The same files to the last bit, and nothing left over.

    The reserve of a state is the exception: of how many steps it is depends on where the training was ended.
    """
    states = {name: content for name, content in found.items() if name.endswith(RESERVE)}
    wanted = {name: content for name, content in expected.items() if not name.endswith(RESERVE)}
    assert wanted and sorted(found.keys() - states.keys()) == sorted(wanted), where
    assert [name for name, content in wanted.items() if found[name] != content] == [], where
    assert states.keys() <= expected.keys(), where
    for name, content in states.items():
        newest = load(found[name.replace(RESERVE, "state.safetensors")])
        assert load(content).keys() == newest.keys() and len(load(content)["losses"]) <= len(newest["losses"]), where


FAULTS = {
    "the disk is full": OSError(28, "No space left on device"),
    "permission is lost": PermissionError(13, "Permission denied"),
    "the share is gone": OSError(5, "Input/output error"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("after", [0, 2, 5, 8, 11])
def test_a_write_that_fails_is_one_sentence_and_what_was_learned_before_is_kept(fault, after, tmp_path, monkeypatch):
    settings = TrainingSettings.resolve(FAMILY, **CHOSEN)
    monkeypatch.setattr("ar_core.training.stages.KEEP_EVERY", dict.fromkeys(("embedding", "layers", "joint"), 2))

    def trained(folder):
        return personalize(toy_model(), toy_subject(), settings, folder, samples=1)[-1].personalization

    whole = trained(tmp_path / "whole")
    synchronise = os.fsync
    count = 0

    def failing(descriptor):
        nonlocal count
        count += 1
        if count > after:
            raise FAULTS[fault]
        synchronise(descriptor)

    monkeypatch.setattr(files.os, "fsync", failing)
    with pytest.raises(UnwritableFile, match=r"could not be written \(.*\)\. Free some space there, or choose another"):
        trained(tmp_path / "runs")
    monkeypatch.setattr(files.os, "fsync", synchronise)
    assert not list(tmp_path.rglob("*.partial"))
    again = trained(tmp_path / "runs")
    assert torch.equal(again.vectors, whole.vectors)
    for one, other in zip(again.adapter.parameters(), whole.adapter.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_subject_that_cannot_be_saved_leaves_the_one_that_was_there(tmp_path, monkeypatch):
    settings = TrainingSettings.resolve(FAMILY, **CHOSEN)
    learned = personalize(toy_model(), toy_subject(), settings, tmp_path / "runs")[-1].personalization
    path = learned.save(tmp_path / "dog")
    before = path.read_bytes()

    def full(descriptor):
        raise FAULTS["the disk is full"]

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UnwritableFile, match=r"dog.safetensors could not be written \(No space left on device\)"):
        learned.save(path)
    assert path.read_bytes() == before and load_file(path) and not list(tmp_path.glob("*.partial"))
