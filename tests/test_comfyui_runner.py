"""The tests of the node pack run in every ComfyUI that is named, and say why they do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_comfyui.py")


def comfyui(folder: Path, version: str, status: int = 0) -> Path:
    """A folder that looks like a ComfyUI; its Python prints its arguments and ends with `status`."""
    (folder / "comfy_execution").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$COMFYUI_PATH runs $*"\nexit {status}\n')
    python.chmod(0o755)
    return folder


def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess:
    known = {key: value for key, value in os.environ.items() if not key.startswith("COMFYUI_")}
    known |= {"HOME": str(home), **environment}
    return subprocess.run([sys.executable, RUNNER, *arguments], env=known, capture_output=True, text=True)


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for a Python is a shell script")


def test_every_named_version_is_tested_and_gets_its_line(tmp_path):
    old = comfyui(tmp_path / "old", "0.3.64", status=1)
    new = comfyui(tmp_path / "new", "0.33.0")
    done = run("-k", "pack", home=tmp_path, COMFYUI_PATHS=os.pathsep.join((str(old), str(new))))
    assert done.returncode == 1
    assert f"{old} runs -m pytest" in done.stdout and f"{new} runs -m pytest" in done.stdout
    assert "-k pack" in done.stdout
    first, second = done.stdout.splitlines()[-2:]
    assert first.startswith(f"ComfyUI 0.3.64 in {old}: FAILED")
    assert second.startswith(f"ComfyUI 0.33.0 in {new}: passed")


def test_one_path_is_enough(tmp_path):
    folder = comfyui(tmp_path / "one", "0.33.0")
    done = run(home=tmp_path, COMFYUI_PATH=str(folder))
    assert done.returncode == 0 and f"ComfyUI 0.33.0 in {folder}: passed" in done.stdout


def test_a_checkout_without_its_python_is_skipped_and_says_what_to_set(tmp_path):
    folder = comfyui(tmp_path / "bare", "0.33.0")
    (folder / ".venv" / "bin" / "python").unlink()
    done = run(home=tmp_path, COMFYUI_PATH=str(folder))
    assert done.returncode == 0
    assert f"{folder}: SKIPPED" in done.stdout and "COMFYUI_PYTHON" in done.stdout


def test_a_path_that_is_no_comfyui_is_an_error(tmp_path):
    done = run(home=tmp_path, COMFYUI_PATH=str(tmp_path))
    assert done.returncode != 0 and f"{tmp_path} is no checkout of ComfyUI" in done.stderr


def test_the_one_in_the_home_folder_is_found(tmp_path):
    folder = comfyui(tmp_path / "ComfyUI", "0.33.0")
    done = run(home=tmp_path)
    if f"in {folder}" not in done.stdout:
        pytest.skip("this checkout lies in a ComfyUI, which is found first")
    assert done.returncode == 0
