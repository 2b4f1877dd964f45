"""What is remembered of trainings: damaged files are made again, and two processes do not disturb one another."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from toy import FAMILY, toy_model, toy_subject

from ar_core import TrainingSettings, prepare_subject
from ar_core.control import Cancelled
from ar_core.files import UnavailableFile
from ar_core.photos import Photo
from ar_core.training import runs
from ar_core.training.remembered import (
    RunInUse,
    adopt_runs,
    forget_run,
    forget_runs,
    remembered_names,
    remembered_runs,
    unused,
)
from ar_core.training.runs import Run
from ar_core.training.settings import EMBEDDING, JOINT
from ar_core.training.stages import Stage

ROOT = Path(__file__).resolve().parents[1]
SUBJECT = toy_subject()


def train(root, steps, stage=JOINT, **options):
    settings = TrainingSettings.resolve(FAMILY, rank=2, prior_preservation=True, prior_images=2)
    return Stage(toy_model(), SUBJECT, settings, root, stage, samples=1, **options).train(steps)


def values(result):
    return [result.personalization.vectors, *result.personalization.adapter.file_tensors().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(values(one), values(other), strict=True))


def flip(path):
    """Another bit in the middle of the values."""
    content = bytearray(path.read_bytes())
    content[-9] ^= 64
    path.write_bytes(content)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "only its length": lambda path: path.write_bytes(path.read_bytes()[:8]),
    "a huge header": lambda path: path.write_bytes(b"\xff" * 64),
    "flipped": flip,
    "no safetensors": lambda path: path.write_text("<html>404</html>", encoding="utf-8"),
    "another file": lambda path: save_file({"x": torch.ones(3)}, path),
    "other shapes": lambda path: save_file({"vectors": torch.ones(3, 3), "losses": torch.ones(2)}, path, {"step": "2"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_cannot_be_read_is_made_again(damage, tmp_path, caplog):
    """Every file of a training, one after the other; then all of them."""
    whole = train(tmp_path / "whole", 22)
    longer = train(tmp_path / "longer", 24)
    files = sorted(path.relative_to(tmp_path / "whole") for path in tmp_path.glob("whole/**/*.safetensors"))
    names = {path.name for path in files}
    assert {"prior.safetensors", "state.safetensors", "000022.safetensors", "sample-000022.safetensors"} <= names
    for number, damaged in enumerate([*([path] for path in files), files]):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", folder)
        for path in damaged:
            DAMAGES[damage](folder / path)
        again = train(folder, 22)
        assert same(again, whole) and again.samples.keys() == whole.samples.keys()
        assert same(train(folder, 24), longer)
    assert "was set aside as state.safetensors.damaged and is made again" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_codes_of_photos_that_cannot_be_read_are_made_again(damage, tmp_path):
    photos = [Photo("a", Image.new("RGB", (40, 40), "red"))]
    first = prepare_subject(toy_model(), photos, "dog", runs=tmp_path)
    [path] = tmp_path.rglob("codes.safetensors")
    DAMAGES[damage](path)
    assert torch.equal(prepare_subject(toy_model(), photos, "dog", runs=tmp_path).codes, first.codes)


WORKER = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
import torch
torch.set_num_threads(1)
from toy import FAMILY, toy_model, toy_subject
from ar_core import TrainingSettings
from ar_core.training.stages import Stage
settings = TrainingSettings.resolve(FAMILY, rank=2)
def progress(done, total, message):
    print(message, flush=True)
result = Stage(toy_model(), toy_subject(), settings, sys.argv[2], "joint", progress=progress).train(int(sys.argv[3]))
print("note:", result.note)
"""


def worker(root, steps):
    command = [sys.executable, "-c", WORKER, str(ROOT), str(root), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_on_one_training_take_turns(tmp_path):
    both = [worker(tmp_path, 40) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    notes = sorted(out.rpartition("note: ")[2].strip() for out, _ in said)
    assert notes == ["remembered", "trained"], said


def test_a_process_that_was_killed_holds_nobody_up(tmp_path):
    killed = worker(tmp_path, 100_000)
    for line in killed.stdout:
        if "loss" in line:
            break
    killed.kill()
    killed.wait()
    began = time.monotonic()
    settings = TrainingSettings.resolve(FAMILY, rank=2)
    Stage(toy_model(), SUBJECT, settings, tmp_path, JOINT).train(2)
    assert time.monotonic() - began < 20


def test_who_waits_says_so_and_can_be_stopped(tmp_path):
    settings = TrainingSettings.resolve(FAMILY)
    stage = Stage(toy_model(), SUBJECT, settings, tmp_path, EMBEDDING)
    told = []
    with stage.run.locked():
        waiting = Stage(
            toy_model(),
            SUBJECT,
            settings,
            tmp_path,
            EMBEDDING,
            progress=lambda *a: told.append(a[2]),
            cancel=lambda: bool(told),
        )
        thread = threading.Thread(target=lambda: pytest.raises(Cancelled, waiting.train, 2))
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert told == ["waiting for another process that trains the same"]


def test_a_training_in_use_is_not_forgotten(tmp_path):
    folder = train(tmp_path, 1).run
    with runs.Run(tmp_path, "other", {}).locked():
        [found] = [run for run in remembered_runs(tmp_path) if run.folder == folder]
        with stage_locked(folder), pytest.raises(RunInUse, match="is being trained by another process"):
            forget_run(found)
        with stage_locked(folder), pytest.raises(RunInUse):
            forget_runs(tmp_path)
        assert folder.is_dir()
    forget_runs(tmp_path)
    assert not remembered_runs(tmp_path) and not list(tmp_path.glob("joint*"))


def stage_locked(folder):
    run = Run(folder.parent, "x", {})
    run.folder = folder
    return run.locked()


def test_a_file_system_without_locks_is_trained_on_with_a_warning(tmp_path, monkeypatch, caplog):
    def no_locks(self, *_, **__):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(runs.FileLock, "acquire", no_locks)
    assert train(tmp_path, 1).note == "trained"
    assert "let no other process train the same" in caplog.text


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="needs /proc")
def test_no_file_of_a_training_stays_open(tmp_path):
    """Windows could not replace it."""
    train(tmp_path, 3)
    train(tmp_path, 5)
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    opened = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [name for name in opened if name.startswith(str(tmp_path))]


def test_a_collection_that_grows_keeps_what_it_grew_by_before_it_was_stopped(tmp_path):
    grid = runs.Grid(1, 2, 100)
    place = Run(tmp_path, "class pictures", {})
    made = []

    def collected(count):
        def parts(done):
            for number in range(done, count):
                yield torch.full((1, 1, 2), number)
                made.append(number)
                if number == 6:
                    raise Cancelled("stopped")

        return runs.collect_remembered(place, "prior", grid, count, parts, seconds=0)

    assert len(collected(3)) == 3
    with pytest.raises(Cancelled):
        collected(9)
    assert collected(9)[:, 0, 0].tolist() == made == list(range(9))


def test_a_file_is_not_set_aside_because_memory_ran_out(tmp_path, monkeypatch):
    train(tmp_path, 2)
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr("ar_core.files._read_tensor", full)
    with pytest.raises(RuntimeError, match="allocate memory"):
        train(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENFILE])
@pytest.mark.parametrize("name", ["state.safetensors", "000022.safetensors", "steps", "prior.safetensors"])
def test_what_cannot_be_read_now_is_not_set_aside(name, number, tmp_path, monkeypatch):
    """A network share that is gone for a moment, too many open files: what lies there is whole."""
    first = train(tmp_path, 22)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    steps = 24  # goes on from the state
    if name in ("000022.safetensors", "steps"):
        steps = 22  # is answered with what was kept
    opened = Path.open
    listed = os.listdir

    def failing_open(path, *arguments, **options):
        if path.name == name:
            raise OSError(number, os.strerror(number))
        return opened(path, *arguments, **options)

    def failing_list(path="."):
        if Path(path).name == name:
            raise OSError(number, os.strerror(number))
        return listed(path)

    monkeypatch.setattr(Path, "open", failing_open)
    monkeypatch.setattr(os, "listdir", failing_list)
    with pytest.raises(UnavailableFile, match=f"{name} cannot be read now .*It was left as it is: try again"):
        train(tmp_path, steps)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in before} == before and not list(tmp_path.rglob("*.damaged"))
    assert same(train(tmp_path, 22), first)


def test_what_is_set_aside_takes_no_place_of_what_was_set_aside_before(tmp_path):
    run = Run(tmp_path, "dog", {})
    run.open()
    path = run.folder / "state.safetensors"
    for content in ("one", "other", "third"):
        path.write_text(content)
        run.set_aside(path, "It is damaged.")
    found = {path.name: path.read_text() for path in run.folder.glob("*.damaged")}
    names = ("state.safetensors.damaged", "state.safetensors_2.damaged", "state.safetensors_3.damaged")
    assert found == dict(zip(names, ("one", "other", "third"), strict=True))


def test_what_is_remembered_is_used_where_nothing_can_be_written(tmp_path, monkeypatch):
    trained = train(tmp_path / "runs", 2)
    photo = Photo("a", Image.new("RGB", (32, 32), "red"))
    prepared = prepare_subject(toy_model(), [photo], "dog", runs=tmp_path / "runs")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    again = train(tmp_path / "runs", 2)
    assert again.note == "remembered" and same(again, trained)
    assert torch.equal(prepare_subject(toy_model(), [photo], "dog", runs=tmp_path / "runs").codes, prepared.codes)


def test_class_pictures_that_a_training_used_count_as_used_today(tmp_path):
    train(tmp_path, 2)
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    train(tmp_path, 4)
    assert all(run.days < 1 for run in remembered_runs(tmp_path))


def test_a_training_in_use_is_not_moved_and_half_a_copy_is_none(tmp_path):
    """Another ComfyUI may work in the folder from which this one would move what it finds."""
    train(tmp_path / "earlier", 2)
    shutil.copytree(max((tmp_path / "earlier").glob("dog-*")), tmp_path / "earlier" / ".dog-x.moving")
    folder = max((tmp_path / "earlier").glob("dog-*"))
    with unused(folder):
        adopt_runs(tmp_path / "earlier", tmp_path / "own")
        assert folder.is_dir() and folder.name not in remembered_names(tmp_path / "own")
    adopt_runs(tmp_path / "earlier", tmp_path / "own")
    assert not folder.exists() and folder.name in remembered_names(tmp_path / "own")
    assert not [name for name in remembered_names(tmp_path / "own") if name.startswith(".")]


def other_file_system(monkeypatch, folder):
    """Renames from `folder` to elsewhere are refused, as between two file systems."""
    rename = os.rename

    def refused(source, target):
        if Path(source).parent == folder:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr("ar_core.training.remembered.os.rename", refused)


def test_a_training_is_moved_to_another_file_system(tmp_path, monkeypatch):
    whole = train(tmp_path / "earlier", 2)
    other_file_system(monkeypatch, tmp_path / "earlier")
    adopt_runs(tmp_path / "earlier", tmp_path / "own")
    monkeypatch.undo()
    assert not (tmp_path / "earlier").exists()
    again = train(tmp_path / "own", 2)
    assert again.note == "remembered" and same(again, whole)


def test_a_move_that_fails_leaves_no_copy_and_the_original(tmp_path, monkeypatch, caplog):
    train(tmp_path / "earlier", 2)
    before = remembered_names(tmp_path / "earlier")
    other_file_system(monkeypatch, tmp_path / "earlier")
    copied = []
    copyfile = shutil.copyfile

    def full(source, target, **options):
        if len(copied) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(target)
        return copyfile(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", full)
    adopt_runs(tmp_path / "earlier", tmp_path / "own")
    assert "could not be moved" in caplog.text and "No space left" in caplog.text and copied
    assert remembered_names(tmp_path / "earlier") == before and not list((tmp_path / "own").iterdir())


def test_a_copy_that_a_killed_process_left_goes_after_a_while_and_is_forgotten_with_its_run(tmp_path, monkeypatch):
    folder = train(tmp_path, 2).run
    for name in (folder.name, "gone-joint-0123456789abcdef"):
        shutil.copytree(folder, tmp_path / f".{name}.0a1b2c3d.moving")
    adopt_runs(tmp_path / "nowhere", tmp_path)
    assert len(list(tmp_path.glob(".*.moving"))) == 2  # the process might still be there
    now = time.time()
    monkeypatch.setattr("ar_core.training.remembered.time.time", lambda: now + 4000)
    shutil.copytree(folder, tmp_path / ".old-joint-fedcba9876543210.0a1b2c3d.moving")
    adopt_runs(tmp_path / "nowhere", tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*.moving")) and folder.is_dir()
    for name in (folder.name, "gone-joint-0123456789abcdef"):
        shutil.copytree(folder, tmp_path / f".{name}.0a1b2c3d.moving")
    [found] = [run for run in remembered_runs(tmp_path) if run.folder == folder]
    forget_run(found)
    assert [path.name for path in tmp_path.glob(".*.moving")] == [".gone-joint-0123456789abcdef.0a1b2c3d.moving"]
    forget_runs(tmp_path)
    assert not list(tmp_path.glob("*"))


def test_only_what_is_proved_to_be_a_training_is_listed_moved_and_deleted(tmp_path):
    folder = train(tmp_path, 2).run
    key = "0123456789abcdef"
    foreign = {
        "mythesis": {"run.json": '{"class": "dog", "stage": "joint"}'},  # another program's
        f"sweep-{key}": {"run.json": '{"class": "dog", "stage": "joint"}', "thesis.tex": "x"},  # another key
        f"damaged-{key}": {"run.json": "{", "steps/notes.txt": "x"},
        f"states-{key}": {"state.safetensors": "x"},
        f".hidden-{key}": {"READ ME.txt": runs.README},
        f".{folder.name}.moving": {"run.json": "{}"},
        folder.name.upper(): {"run.json": (folder / "run.json").read_text(encoding="utf-8")},
        "copy of a run": {"READ ME.txt": runs.README},
    }
    if Path(tmp_path / folder.name.upper()).exists():  # a file system that does not tell them apart
        del foreign[folder.name.upper()]
    for name, files in foreign.items():
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    before = {path: path.read_bytes() for name in foreign for path in (tmp_path / name).rglob("*") if path.is_file()}
    assert folder.name in remembered_names(tmp_path) and not set(foreign) & set(remembered_names(tmp_path))
    adopt_runs(tmp_path, tmp_path.parent / "elsewhere")
    assert {path for path in before if path.exists()} == set(before)
    train(tmp_path, 2)
    forget_runs(tmp_path)
    assert {path: path.read_bytes() for path in before} == before and not folder.exists()


@pytest.mark.parametrize("left", [(), ("steps/",), ("steps/", "READ ME.txt.ar-0a1b2c3d-99999-0a1b2c3d.partial")])
def test_what_a_kill_left_of_a_training_that_had_just_begun_is_forgotten(tmp_path, left):
    folder = tmp_path / "dog-joint-0123456789abcdef"
    folder.mkdir()
    for name in left:
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(b"half")
    assert forget_runs(tmp_path) == 1 and not folder.exists()


def test_a_training_whose_run_json_is_damaged_or_gone_is_ours_by_its_read_me(tmp_path):
    folder = train(tmp_path, 2).run
    (folder / "run.json").write_text("{", encoding="utf-8")
    assert folder.name in remembered_names(tmp_path)
    (folder / "run.json").unlink()
    assert forget_runs(tmp_path) == 2 and not list(tmp_path.iterdir())


def test_trainings_of_earlier_versions_are_proved_to_be_ours(tmp_path):
    saved = ROOT / "tests" / "fixtures" / "saved_0f6fd39" / "subjects" / "_runs"
    shutil.copytree(saved, tmp_path / "_runs")
    for path in (tmp_path / "_runs").glob("*/READ ME.txt"):
        path.unlink()
    assert forget_runs(tmp_path / "_runs") == len(list(saved.iterdir())) and not list((tmp_path / "_runs").iterdir())


def test_forgetting_that_is_stopped_midway_can_be_finished(tmp_path, monkeypatch):
    """What still holds something is listed, whichever file was the last to go."""
    folder = train(tmp_path / "whole", 2).run
    unlink = os.unlink
    for last in range(9):
        root = tmp_path / str(last)
        shutil.copytree(folder, root / folder.name)
        gone = []

        def stopped(path, *, gone=gone, last=last, **options):
            if len(gone) == last:
                raise KeyboardInterrupt
            gone.append(path)
            unlink(path, **options)

        monkeypatch.setattr(os, "unlink", stopped)
        [run] = remembered_runs(root)
        with suppress(KeyboardInterrupt):
            forget_run(run)
        monkeypatch.setattr(os, "unlink", unlink)
        left = [path for path in (root / folder.name).rglob("*") if path.is_file()]
        assert len(remembered_runs(root)) == bool(left)
        forget_runs(root)
        assert not (root / folder.name).exists()
