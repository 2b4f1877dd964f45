"""The tests of the node pack run in every ComfyUI that is named, and say why they do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_comfyui.py")


STAND_IN = """#!/bin/sh
[ "$1" = -c ] && echo "3.11" && exit 0
echo "$COMFYUI_PATH runs $*"
for argument; do case "$argument" in --junitxml=*)
  if [ -s "{report}" ]; then cp "{report}" "${{argument#--junitxml=}}"; fi;; esac; done
exit {status}
"""


def comfyui(folder: Path, version: str, status: int = 0, report: str = "") -> Path:
    """A folder that looks like a ComfyUI; its Python prints its arguments, writes the report and ends with `status`."""
    (folder / "comfy_execution").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (folder / "report.xml").write_text(report, encoding="utf-8")
    python.write_text(STAND_IN.format(report=folder / "report.xml", status=status), encoding="utf-8")
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
    assert "docs/compatibility.md" not in done.stdout
    assert first.startswith(f"ComfyUI 0.3.64 in {old}: FAILED")
    assert second.startswith(f"ComfyUI 0.33.0 in {new}: passed")


REPORT = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"/></testsuites>'


def test_the_table_has_a_line_for_every_version(tmp_path):
    old = comfyui(tmp_path / "old", "0.3.64", report=REPORT, status=1)
    new = comfyui(
        tmp_path / "new", "0.33.0", report=REPORT.replace('failures="2" errors="1"', 'failures="0" errors="0"')
    )
    table = tmp_path / "table.md"
    done = run("--table", str(table), home=tmp_path, COMFYUI_PATHS=os.pathsep.join((str(old), str(new))))
    assert done.returncode == 1 and "5 passed, 3 failed, 1 skipped" in done.stdout
    rows = [line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("| 0.3")]
    assert [row.split(" | ")[2:5] for row in rows] == [["5", "3", "1"], ["8", "0", "1"]]


def test_without_any_comfyui_it_says_so_loudly(tmp_path):
    done = run("--short", home=tmp_path)
    if "NO COMFYUI WAS FOUND" not in done.stdout:
        pytest.skip("this checkout lies in a ComfyUI, which is found first")
    assert done.returncode == 0 and "NOT tested" in done.stdout


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
