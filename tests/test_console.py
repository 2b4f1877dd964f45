"""What is printed never loses work: letters that a console lacks, a reader that has gone, no console at all."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from ar_core.commands.console import Console
from ar_core.commands.interruption import Interruption
from ar_core.control import INTERRUPTIONS
from workshop.world.subjects import drawn_photos

PACK = Path(__file__).resolve().parents[1]


def command(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "cp1252", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "ar_core", *map(str, arguments)],
        cwd=PACK,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="cp1252",
        **options,
    )


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, (image, _) in zip(("Łódź.png", "狗🐶.png"), drawn_photos("lilac_dog", 2), strict=True):
        image.save(folder / name)
    return folder


def test_a_console_without_the_letters_gets_the_picture_all_the_same(tmp_path):
    process = command("sample", "--prompt", "a photo of a red dog 🐶 on the beach", "--out", tmp_path)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert r"prompt: a photo of a red dog \U0001f436 on the beach" in out
    assert Image.open(tmp_path / "00_0_00.png").text["prompt"] == "a photo of a red dog 🐶 on the beach"


def test_photos_with_any_name_are_learned_from(photos, tmp_path):
    steps = ("--embedding-steps", 1, "--layer-steps", 1)
    process = command("personalize", "--photos", photos, "--class-name", "dog", "--out", tmp_path / "x", *steps)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert r"\u0141ód" in out and (tmp_path / "x.safetensors").is_file()


def test_a_reader_that_has_gone_stops_nothing(tmp_path):
    process = command("sample", "--prompt", "a photo of a red dog", "--out", tmp_path)
    process.stdout.close()  # as `| head -0` does
    errors = process.stderr.read()
    assert process.wait(timeout=300) == 0, errors
    assert "rror" not in errors and (tmp_path / "00_0_00.png").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
def test_output_that_could_not_be_written_is_a_failure_after_the_work(tmp_path):
    for arguments in (("info",), ("sample", "--prompt", "a photo of a red dog", "--out", tmp_path)):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "ar_core", *map(str, arguments)], cwd=PACK, stdout=full, stderr=subprocess.PIPE
            )
        errors = done.stderr.decode()
        assert done.returncode == 1 and "could be written (No space left on device)" in errors, errors
        assert errors.strip().count("\n") == 0
    assert (tmp_path / "00_0_00.png").is_file()


SLOW = """
import builtins, os, signal, sys
original = builtins.__import__
def importing(name, *more, **options):
    if name == "torch":
        os.kill(os.getpid(), signal.SIGINT)
    return original(name, *more, **options)
builtins.__import__ = importing
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signal")
@pytest.mark.parametrize(
    "begin", ["import runpy; runpy.run_module('ar_core', run_name='__main__')", "from ar_core.__main__ import start"]
)
def test_ctrl_c_while_torch_is_imported_ends_quietly(begin):
    code = f"{SLOW}\n{begin}\nsys.exit(start())"
    done = subprocess.run([sys.executable, "-c", code, "info"], cwd=PACK, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without telling it")
def test_sigterm_keeps_every_step_like_ctrl_c(photos, tmp_path):
    """`docker stop` and job schedulers send it."""
    arguments = ("personalize", "--photos", photos, "--class-name", "dog", "--out", tmp_path / "x")
    arguments += ("--strategy", "embedding_only", "--embedding-steps", 400)
    process = command(*arguments)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("_runs/*embedding*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    announced = int(re.search(r"after (\d+) of 400 steps; they are kept", errors)[1])
    [state] = tmp_path.glob("_runs/*embedding*/state.safetensors")
    assert announced > 0 and saved_step(state) == announced
    again = command(*arguments)
    deadline = time.monotonic() + 120
    while saved_step(state) == announced and time.monotonic() < deadline:
        time.sleep(0.05)
    again.send_signal(signal.SIGTERM)
    _, errors = again.communicate(timeout=120)
    assert f"after {saved_step(state)} of 400 steps" in errors and saved_step(state) > announced


def saved_step(state):
    with safe_open(state, "pt") as file:
        return int(file.metadata()["step"])


@pytest.mark.skipif(os.name == "nt", reason="Windows ignores no signals")
def test_an_ignored_signal_stays_ignored():
    """A shell lets its background jobs ignore the Ctrl-C of what runs in front."""
    before = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        cancel = Interruption()
        os.kill(os.getpid(), signal.SIGINT)
        assert not cancel()
        os.kill(os.getpid(), signal.SIGTERM)
        assert cancel() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_console_that_is_closed_or_missing_takes_everything():
    for stream in (None, io.StringIO()):
        console = Console(stream)
        if stream is not None:
            stream.close()
        print("a line", file=console)
        console.flush()
        assert not console.isatty()


def test_what_a_console_can_write_is_written_as_it_is():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    print("Łódź 🐶", file=Console(stream))
    stream.flush()
    assert stream.buffer.getvalue().decode() == "Łódź 🐶" + os.linesep
    bad_name = os.fsdecode(b"caf\xe9")  # of a file whose name is no UTF-8
    print(bad_name, file=Console(stream))
    stream.flush()
    assert stream.buffer.getvalue().decode().endswith("\\udce9" + os.linesep) or os.name == "nt"
