"""A process that ends in the middle of any write: what was learned is the same to the last bit, nothing is left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy import FAMILY, toy_model, toy_subject

from ar_core import TrainingSettings, files, personalize
from ar_core.files import UnwritableFile

KILLS = int(os.environ.get("AR_KILLS", "4"))  # at so many of its writes; 1000: at every one
ROOT = Path(__file__).resolve().parents[1]
CHOSEN = {"embedding_steps": 4, "layer_steps": 5, "rank": 2, "prior_preservation": True, "prior_images": 2}

# Trains and saves. Ends itself at the N-th call of one of the system's functions that write: before it, or after it.
PROGRAM = """
import os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
import torch
torch.set_num_threads(1)
from pathlib import Path
from toy import FAMILY, toy_model, toy_subject
from ar_core import TrainingSettings, personalize
from ar_core.training import stages
stages.KEEP_EVERY = {name: 2 for name in stages.KEEP_EVERY}
folder, last, how = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
count = 0

def ending(call):
    def counted(*arguments, **options):
        global count
        count += 1
        number = count  # a call may make others before it ends
        if number == last and how == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*arguments, **options)
        if number == last and how == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return counted

os.replace, os.fsync = ending(os.replace), ending(os.fsync)
Path.mkdir, Path.unlink = ending(Path.mkdir), ending(Path.unlink)
settings = TrainingSettings.resolve(FAMILY, **CHOSEN)
[*_, result] = personalize(toy_model(), toy_subject(), settings, folder / "runs", samples=2)
result.personalization.save(folder / "dog.safetensors")
print(count)
"""


def train(folder, last=0, how="before"):
    program = PROGRAM.replace("**CHOSEN", f"**{CHOSEN!r}")
    command = [sys.executable, "-c", program, str(ROOT), str(folder), str(last), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def contents(folder):
    """Every file by its name below `folder`, as bytes."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_kill_at_any_write_changes_no_bit_and_leaves_nothing(tmp_path):
    """One training after the other is killed at another of its writes, and goes on."""
    whole = train(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    writes = int(whole.stdout)
    assert writes > 60
    expected = contents(tmp_path / "whole")
    every = max(1, writes // KILLS)
    for number, last in enumerate(range(1, writes + 1, every)):
        folder = tmp_path / f"killed at {last}"
        how = ("before", "after")[number % 2]
        killed = train(folder, last, how)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        ended = train(folder)
        assert ended.returncode == 0, ended.stderr
        check_equal(contents(folder), expected)


def test_a_training_that_is_killed_again_and_again_ends_the_same(tmp_path):
    whole = train(tmp_path / "whole")
    folder = tmp_path / "killed"
    kills = 0
    while (ended := train(folder, 17)).returncode == -signal.SIGKILL:
        kills += 1
    assert ended.returncode == 0, ended.stderr
    assert kills > 2 and whole.returncode == 0
    check_equal(contents(folder), contents(tmp_path / "whole"))


def check_equal(found, expected):
    """The same results to the last bit, and nothing left over."""
    assert found["dog.safetensors"] == expected["dog.safetensors"]
    kept = [name for name in expected if "/steps/" in name]
    assert kept and all(found[name] == expected[name] for name in kept)
    assert not [name for name in found if name.endswith((".partial", ".damaged", ".writing"))]
    assert set(found) - {name for name in found if "previous" in name} == set(expected) - {
        name for name in expected if "previous" in name
    }


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
