"""Runs tests/comfyui in the Python of each ComfyUI there is, or says how to enable them.

    python tests/run_comfyui.py [pytest arguments]

COMFYUI_PATHS names checkouts, separated as in PATH; COMFYUI_PATH names one. Without either, ComfyUI is looked for in
the folders above this checkout, and at ~/ComfyUI. The Python is COMFYUI_PYTHON, else that of each checkout's own
virtual environment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

PACK = Path(__file__).resolve().parents[1]
TESTS = PACK / "tests" / "comfyui"
ENVIRONMENTS = (".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe", "venv/Scripts/python.exe")
NEEDED = "import pytest, aiohttp, torch"


def checkouts() -> list[Path]:
    """The folders of all ComfyUIs to test in. Raises SystemExit for a named one that is none."""
    named = os.environ.get("COMFYUI_PATHS") or os.environ.get("COMFYUI_PATH")
    if not named:
        places = [*PACK.parents, Path.home() / "ComfyUI"]
        return [place for place in places if is_comfyui(place)][:1]
    folders = [Path(name).expanduser() for name in named.split(os.pathsep) if name]
    for folder in folders:
        if not is_comfyui(folder):
            raise SystemExit(f"{folder} is no checkout of ComfyUI: COMFYUI_PATHS and COMFYUI_PATH must name some.")
    return folders


def is_comfyui(folder: Path) -> bool:
    return (folder / "comfy_execution").is_dir() and (folder / "main.py").is_file()


def version_of(folder: Path) -> str:
    """ "0.3.64"; "of unknown version" where the checkout does not say."""
    path = folder / "comfyui_version.py"
    if path.is_file():
        found = re.search(r'__version__ = "([^"]+)"', path.read_text(encoding="utf-8"))
        if found:
            return found[1]
    return "of unknown version"


def python_of(folder: Path) -> Path | None:
    """The Python that this ComfyUI runs in; None where it is not known."""
    candidates = [folder / name for name in ENVIRONMENTS]
    if "COMFYUI_PYTHON" in os.environ:
        candidates = [Path(os.environ["COMFYUI_PYTHON"])]
    for path in candidates:
        if path.is_file():
            return path
    return None


def run(folder: Path, arguments: list[str]) -> tuple[int, str]:
    """Run the tests in one ComfyUI: their exit status, and a line for the summary."""
    python = python_of(folder)
    if python is None or subprocess.run([python, "-c", NEEDED], capture_output=True).returncode:
        where = python or f"the virtual environment of {folder}"
        advice = "Set COMFYUI_PYTHON to a Python that has both."
        return 0, f"SKIPPED: {where} lacks ComfyUI's requirements or pytest. {advice}"
    print(f"ComfyUI tests: {folder}, {python}", flush=True)
    settings = ["-c", str(TESTS / "pytest.ini"), "--rootdir", str(TESTS), "-rs"]
    command = [str(python), "-m", "pytest", *settings, *(arguments or [str(TESTS)])]
    environment = {**os.environ, "COMFYUI_PATH": str(folder)}
    started = time.monotonic()
    status = subprocess.run(command, env=environment, cwd=PACK).returncode
    minutes = (time.monotonic() - started) / 60
    if status:
        return status, f"FAILED (pytest's exit status {status}) after {minutes:.1f} min"
    return 0, f"passed in {minutes:.1f} min"


def main(arguments: list[str]) -> int:
    folders = checkouts()
    if not folders:
        print("ComfyUI tests SKIPPED: no ComfyUI found. Set COMFYUI_PATH to a checkout (0.3.64 or later) to run them.")
    results = [(folder, *run(folder, arguments)) for folder in folders]
    for folder, _, line in results:
        print(f"ComfyUI {version_of(folder)} in {folder}: {line}")
    return max((status for _, status, _ in results), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
