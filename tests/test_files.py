"""Files are written whole or not at all, in one room, whoever writes them and whatever ends the writer."""

import ast
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from packaging.version import Version
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from toy import FAMILY, toy_model

from ar_core import files
from ar_core.dreambench.comparison_report import write_comparison
from ar_core.dreambench.protocol import Protocol
from ar_core.dreambench.report import write_report
from ar_core.dreambench.scoring import ScoredPicture, SubjectScores
from ar_core.files import (
    ABANDONED_AFTER,
    TEMPORARY,
    MissingFile,
    UnavailableFile,
    UnreadableFile,
    UnwritableFile,
    atomic_write,
    checksum_of,
    json_hash,
    json_value,
    read_json,
    read_tensors,
    shown_path,
    tensor_hash,
    weights_hash,
    write_image,
    write_json,
    write_numbered,
    write_tensors,
    write_text,
)
from ar_core.personalization import Personalization
from ar_core.photos import Photo
from ar_core.pngs import save_png
from ar_core.sampling import SamplingSettings
from ar_core.training import TrainingSettings, personalize, prepare_subject
from ar_core.training.runs import Run
from workshop.making.checkpointing import load_training, save_training

ROOT = Path(__file__).parents[1]
NAN = float("nan")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make_old(path):
    before = time.time() - ABANDONED_AFTER - 10
    os.utime(path, (before, before))


# ---------------------------------------------------------------- whole or not at all


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half of the new")
        raise KeyboardInterrupt
    assert path.read_text() == "old\n" and names(tmp_path) == ["a.txt"]


def test_the_new_content_appears_only_when_it_is_whole(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old\n"
    assert path.read_text() == "new"


def test_two_writers_of_one_file_do_not_disturb_one_another(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write(b"1" * 100)
        second.write(b"2" * 50)
    assert path.read_bytes() == b"1" * 100 and names(tmp_path) == ["a.txt"]  # the first was renamed last


def test_the_file_before_stays_as_a_reserve(tmp_path):
    path, reserve = tmp_path / "state", tmp_path / "state.before"
    for content in (b"1", b"2", b"3"):
        with atomic_write(path, reserve) as file:
            file.write(content)
    assert path.read_bytes() == b"3" and reserve.read_bytes() == b"2"


KILLED = """
import sys, time
from pathlib import Path
import torch
from ar_core import files
tensor_bytes = files.tensor_bytes
def slow(tensor):
    if tensor.numel() == 7:
        print("writing", flush=True)
        time.sleep(60)
    return tensor_bytes(tensor)
files.tensor_bytes = slow
files.write_tensors(Path(sys.argv[1]), {"a": torch.zeros(10_000), "b": torch.zeros(7)})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_writer_leaves_the_old_file_and_a_later_write_cleans_up(tmp_path):
    path = write_tensors(tmp_path / "subject.safetensors", {"a": torch.ones(3)})
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert torch.equal(load_file(path)["a"], torch.ones(3))
    [left] = [file for file in tmp_path.iterdir() if file != path]
    assert TEMPORARY.fullmatch(left.name) and left.name.startswith("subject.safetensors")
    elsewhere = left.with_name(left.name.replace(files.MACHINE, "0" * 8))  # of another machine, on a share
    here = left.with_name(left.name.replace(f"-{process.pid}-", f"-{os.getpid()}-"))
    for path_ in (elsewhere, here):
        path_.write_bytes(b"half")
    write_text(tmp_path / "other.txt", "")
    assert not left.exists() and elsewhere.exists() and here.exists()  # whose writers might still be there
    make_old(elsewhere)
    make_old(here)
    write_text(tmp_path / "other.txt", "")
    assert names(tmp_path) == ["other.txt", "subject.safetensors"]


def test_what_another_program_is_downloading_is_left_alone(tmp_path):
    foreign = tmp_path / "model.safetensors.partial"
    foreign.write_text("half")
    make_old(foreign)
    write_text(tmp_path / "a.txt", "")
    assert foreign.exists()


def test_a_run_removes_what_killed_processes_left(tmp_path):
    """At once: while it is locked, nobody else writes there."""
    run = Run(tmp_path, "dog", {})
    run.open()
    left = [run.folder / "state.partial", run.folder / "state.partial.writing", run.folder / ".tmpAb3d9X"]
    left.append(run.folder / f"state.safetensors.ar-{'0' * 16}.partial")
    left.append(run.folder / "steps" / "000050.safetensors.writing")
    for path in left:
        path.write_text("half")
    run.open()
    assert not any(path.exists() for path in left)


def test_a_long_name_is_no_problem(tmp_path):
    path = write_text(tmp_path / ("狗" * 80), "x")
    assert path.exists()


# ---------------------------------------------------------------- who writes how


def every_writer(folder: Path) -> None:
    """Uses everything of the engine and the workshop that writes a file."""
    model = toy_model()
    photos = [Photo("a", Image.new("RGB", (40, 40), "red"))]
    settings = TrainingSettings.resolve(
        FAMILY, embedding_steps=2, layer_steps=2, rank=2, prior_preservation=True, prior_images=2
    )
    subject = prepare_subject(model, photos, "dog", runs=folder / "runs")
    results = personalize(model, subject, settings, folder / "runs", samples=1)
    results[-1].personalization.save(folder / "subjects" / "dog")
    save_png(model.generate("a dog", SamplingSettings.resolve(FAMILY))[0], 0, model, folder / "dog.png")
    write_image(folder / "sheet.jpg", Image.new("RGB", (9, 9)), quality=80)
    scores = [scored("NaN"), scored("cup")]
    write_report(folder / "scores", scores, PROTOCOL, "ours", {"cup": Image.new("RGB", (9, 9))})
    write_comparison(folder / "scores", {"two_stage": scores, "joint": scores}, PROTOCOL, None)
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2)).sum().backward()
    optimizer.step()
    save_training(folder / "training.safetensors", 1, 2, network, [optimizer], {})
    load_training(folder / "training.safetensors", network, [optimizer], {})


PROTOCOL = Protocol({"vit": "a"}, {}, {})


def scored(name: str) -> SubjectScores:
    picture = ScoredPicture(name, "a cup", "a.png", "", (0.5, NAN, 0.25), 0.9, False)
    return SubjectScores(name, ("a", "b", "c"), (picture,), {"a": 0.5, "b": NAN}, NAN, NAN)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_every_file_has_the_mode_that_the_umask_asks_for(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        every_writer(tmp_path)
    finally:
        os.umask(before)
    # Old versions of filelock give their files, which are empty, a mode of their own.
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(files) > 15
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {
        path.name: oct(mode) for path in files
    }


FORBIDDEN = {"save_file", "write_bytes", "savez", "dump"}


def writes_by_itself(path: Path) -> set[str]:
    """Calls in a source file that write a file without `ar_core/files.py`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in {*FORBIDDEN, "write_text"}:
            found.add(called.attr)
        if isinstance(called, ast.Name) and called.id in FORBIDDEN:
            found.add(called.id)
        modes = [value.value for value in node.args if isinstance(value, ast.Constant) and isinstance(value.value, str)]
        if (
            isinstance(called, ast.Attribute | ast.Name)
            and getattr(called, "attr", getattr(called, "id", "")) == "open"
        ):
            found |= {f"open {mode}" for mode in modes if set(mode) <= set("rwxabt+") and set(mode) & set("wxa")}
    return found


def test_nothing_is_written_elsewhere():
    found = {}
    for folder in ("ar_core", "nodes", "workshop", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name != "ar_core/files.py" and (calls := writes_by_itself(path)):
                found[name] = calls
    assert found == {}


# ---------------------------------------------------------------- safetensors


def every_type() -> dict[str, torch.Tensor]:
    values = torch.tensor([0.0, 1.0, 3.0])
    types = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64)
    types += (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if Version(safetensors.__version__) < Version("0.4.3"):
        types = tuple(dtype for dtype in types if dtype != torch.uint16)
    tensors = {str(dtype): values.to(dtype) for dtype in types}
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 4)
    tensors["ü 狗"] = torch.arange(12.0).view(3, 4)
    return tensors


def test_tensors_come_back_as_they_were(tmp_path):
    tensors = every_type()
    file = read_tensors(write_tensors(tmp_path / "x", tensors, {"a": "ü \n"}))
    assert file.metadata == {"a": "ü \n"} and set(file.tensors) == set(tensors)
    assert all(torch.equal(file.tensors[k], v) and file.tensors[k].dtype == v.dtype for k, v in tensors.items())


@pytest.mark.parametrize("metadata", [None, {}, {"step": '3 "ü" \\ \n \x01 \x7f'}])
def test_the_bytes_are_those_of_the_library(tmp_path, metadata):
    write_tensors(tmp_path / "ours", every_type(), metadata)
    if metadata is not None:
        metadata = {**checksums(tmp_path / "ours"), **metadata}
        assert metadata["checksum"] == checksum_of(every_type())
    save_file(every_type(), tmp_path / "theirs", metadata)
    header, tensors = parts(tmp_path / "ours")
    assert (json.loads(header), tensors) == (json.loads(parts(tmp_path / "theirs")[0]), parts(tmp_path / "theirs")[1])
    if not metadata:  # the library orders metadata at random
        assert header == parts(tmp_path / "theirs")[0]


def checksums(path):
    """What a file's metadata hold of them."""
    with safe_open(path, "pt") as file:
        return {key: value for key, value in file.metadata().items() if key in ("checksum", "header_checksum")}


def parts(path):
    """Header and tensors of a safetensors file."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


def test_equal_content_gives_equal_bytes(tmp_path):
    metadata = {f"key {i}": str(i) for i in range(12)}
    backwards = dict(reversed(metadata.items()))
    first = write_tensors(tmp_path / "a", every_type(), metadata).read_bytes()
    second = write_tensors(tmp_path / "b", dict(reversed(every_type().items())), backwards).read_bytes()
    assert first == second
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == {**metadata, **checksums(tmp_path / "a")}


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    path = write_tensors(tmp_path / "x", {"a": torch.arange(40.0)}, {"step": "3", "ü": "1"})
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    for place in range(len(whole)):
        for bit in {1 << place % 8, 4, 32}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            try:
                found = read_tensors(path)
            except UnreadableFile as error:
                assert str(path) in str(error)
            else:  # white space behind the header
                assert whole[place:end].isspace() and found.metadata == {"step": "3", "ü": "1"}
                assert list(found.tensors) == ["a"] and torch.equal(found.tensors["a"], torch.arange(40.0))


def test_flipped_words_are_noticed_where_only_a_part_is_read(tmp_path):
    path = write_tensors(tmp_path / "x", {"a": torch.ones(3), "b": torch.ones(3)}, {"step": "3"})
    path.write_bytes(path.read_bytes().replace(b'"step":"3"', b'"step":"7"'))
    for only in (None, (), ("a",)):
        with pytest.raises(UnreadableFile, match="what it says of its tensors is not what was written"):
            read_tensors(path, only)


def test_a_file_without_checksums_and_one_that_the_library_wrote_again_are_read(tmp_path):
    path = write_tensors(tmp_path / "x", every_type(), {"step": "3", "b": "ü"})
    with safe_open(path, "pt") as file:
        written = file.metadata()
    backwards = dict(sorted(written.items(), reverse=True))
    save_file(load_file(path), tmp_path / "again", backwards)
    assert read_tensors(tmp_path / "again").metadata == {"step": "3", "b": "ü"}
    save_file(load_file(path), tmp_path / "earlier", {**written, "header_checksum": ""} | {"step": "4"})
    with pytest.raises(UnreadableFile):
        read_tensors(tmp_path / "earlier")
    save_file(load_file(path), tmp_path / "earlier", {"step": "4", "checksum": written["checksum"]})
    assert read_tensors(tmp_path / "earlier").metadata == {"step": "4"}
    save_file(load_file(path), tmp_path / "earlier")
    assert read_tensors(tmp_path / "earlier").metadata == {}


HEADERS = {
    "no JSON": b"{",
    "no JSON object": b"[]",
    "nothing that ends": b"[" * 100_000,
    "metadata that are no words": b'{"__metadata__":{"a":1}}',
    "a tensor that is none": b'{"a":3}',
    "a type that is never written": b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}',
    "a size that is no number": b'{"a":{"dtype":"U8","shape":[true,4],"data_offsets":[0,4]}}',
    "a size below nothing": b'{"a":{"dtype":"U8","shape":[-1,-4],"data_offsets":[0,4]}}',
    "a size that torch lacks": b'{"a":{"dtype":"U8","shape":[0,9223372036854775807,9],"data_offsets":[0,0]}}',
    "a gap": b'{"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}',
    "too few bytes": b'{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}',
    "too many bytes": b'{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}',
    "a shape that does not fit": b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}',
    "two at one place": b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
    b'"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_says_nothing_is_one_sentence(header, tmp_path):
    path = tmp_path / "x.safetensors"
    values = b"" if header == "a size that torch lacks" else b"1234"
    path.write_bytes(len(HEADERS[header]).to_bytes(8, "little") + HEADERS[header] + values)
    with pytest.raises(UnreadableFile, match=r"x\.safetensors is damaged or not a safetensors file \([^\n]*\)\.$"):
        read_tensors(path)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENFILE])
def test_a_disk_that_does_not_answer_says_nothing_of_the_file(number, tmp_path, monkeypatch):
    path = write_tensors(tmp_path / "x.safetensors", {"a": torch.ones(3)}, {})
    monkeypatch.setattr(files, "_read_tensor", failing_with(OSError(number, os.strerror(number))))
    with pytest.raises(UnavailableFile, match=r"x\.safetensors cannot be read now \(.*\)\. It was left as it is: try"):
        read_tensors(path)
    monkeypatch.undo()
    with pytest.raises(MissingFile, match="There is no file"):
        read_tensors(tmp_path / "absent")
    with pytest.raises(UnreadableFile, match="is a folder"):
        read_tensors(tmp_path)


def failing_with(error):
    def fail(*_, **__):
        raise error

    return fail


def test_values_stay_when_the_file_is_cut_off_or_written_over(tmp_path):
    """A view of the file would end the process with a bus error, or change."""
    path = write_tensors(tmp_path / "x", {"a": torch.ones(300_000)}, {})
    found = read_tensors(path)
    with path.open("r+b") as file:
        file.truncate(100)
    assert found.tensors["a"].sum() == 300_000
    write_tensors(path, {"a": torch.ones(300_000)}, {})
    found = read_tensors(path)
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"\0" * 1_000_000)
    assert found.tensors["a"].sum() == 300_000


def test_a_personalization_saved_twice_is_the_same_file(tmp_path):
    learned = Personalization("[V]", "dog", torch.ones(1, 16), None, "0123", {"b": 1, "a": 2})
    assert learned.save(tmp_path / "a").read_bytes() == learned.save(tmp_path / "b").read_bytes()


def test_a_view_is_written_as_what_it_shows(tmp_path):
    whole = torch.arange(24.0).view(4, 6)
    file = read_tensors(write_tensors(tmp_path / "x", {"turned": whole.T, "learned": torch.nn.Parameter(whole[1:3])}))
    assert torch.equal(file.tensors["turned"], whole.T) and torch.equal(file.tensors["learned"], whole[1:3])


def test_an_unreadable_file_is_one_sentence(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"torn")
    with pytest.raises(UnreadableFile, match=r"x\.safetensors is damaged or not a safetensors file \(.*\)\.$"):
        read_tensors(tmp_path / "x.safetensors")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UnreadableFile, match=r"x\.json cannot be read as JSON \(.*\)\.$"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UnreadableFile, match="absent.json cannot be read"):
        read_json(tmp_path / "absent.json")


# ---------------------------------------------------------------- JSON and hashes


def test_json_has_null_for_what_is_no_number_and_keeps_words(tmp_path):
    value = {"NaN": "NaN dog", "mean": (NAN, np.float64("inf"), 0.5), "ü": [{"x": -float("inf")}]}
    path = write_json(tmp_path / "a.json", value)
    expected = {"NaN": "NaN dog", "mean": [None, None, 0.5], "ü": [{"x": None}]}
    assert read_json(path) == json.loads(path.read_text(encoding="utf-8")) == json_value(value) == expected
    assert "ü" in path.read_text(encoding="utf-8") and path.read_bytes().endswith(b"}\n")


def test_a_subject_called_nan_is_reported_under_its_name(tmp_path):
    write_report(tmp_path, [scored("NaN")], PROTOCOL, "ours", {})
    assert list(read_json(tmp_path / "scores.json")["subjects"]) == ["NaN"]


def test_names_of_values_are_those_of_before():
    """Run keys and remembered codes depend on them."""
    assert json_hash({"b": [1, 0.01], "a": "ü"}) == json_hash({"a": "ü", "b": [1, 0.01]})
    assert json_hash({"a": "ü", "b": [1, 0.01]}).startswith("8351f7ae85df231e")
    network = torch.nn.Linear(2, 1)
    network.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([0.5])})
    assert weights_hash([network]).startswith("00c54ee5e500bb56") and weights_hash([network], "more").startswith(
        "ee8bc4050c33294a"
    )
    assert tensor_hash(torch.arange(16.0)[None]) == tensor_hash(torch.arange(16.0).half()) == "58dda328598e2f7f"


def test_a_second_failing_rename_gives_the_file_its_name_back(tmp_path, monkeypatch):
    path = write_text(tmp_path / "a.txt", "before")
    replace = os.replace

    def failing(source, target):
        if Path(source).suffix == ".partial":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", failing)
    with pytest.raises(UnwritableFile, match="could not be written"), atomic_write(path, tmp_path / "b.txt") as file:
        file.write(b"after")
    assert names(tmp_path) == ["a.txt"] and path.read_text(encoding="utf-8") == "before\n"


def test_two_who_save_a_new_file_at_once_both_have_theirs(tmp_path, monkeypatch):
    """Both found the name free."""
    monkeypatch.setattr(files.os.path, "lexists", lambda path: False)
    one, other = (write_numbered(tmp_path / "a.png", partial(save_new, text)) for text in ("one", "other"))
    assert (one.name, other.name) == ("a.png", "a_2.png") and names(tmp_path) == ["a.png", "a_2.png"]
    assert one.read_bytes() == b"one" and other.read_bytes() == b"other"


def test_a_file_system_without_links_is_no_problem(tmp_path, monkeypatch):
    def no_links(source, target):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(files.os, "link", no_links)
    test_two_who_save_a_new_file_at_once_both_have_theirs(tmp_path, monkeypatch)


def test_where_there_are_no_links_a_rename_that_fails_leaves_no_empty_file(tmp_path, monkeypatch):
    for name in ("link", "replace"):
        monkeypatch.setattr(files.os, name, failing_with(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(UnwritableFile, match="could not be written"):
        save_new("one", tmp_path / "a.png")
    assert names(tmp_path) == []


def save_new(text, path):
    with atomic_write(path, replace=False) as file:
        file.write(text.encode())


@pytest.mark.parametrize("name, shown", [("a\nb", r"a\nb"), ("Łódź 🐶.png", "Łódź 🐶.png"), ("a\udc80", r"a\udc80")])
def test_a_path_is_shown_on_one_line_that_every_console_can_print(name, shown):
    assert shown_path(Path(name)) == shown
