"""Runs tests/comfyui in a ComfyUI's own Python, or says how to enable them.

    python tests/run_comfyui.py [pytest arguments]

ComfyUI is looked for at COMFYUI_PATH, in the folders above this checkout, and at ~/ComfyUI; its Python at
COMFYUI_PYTHON, then in that checkout's own virtual environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACK = Path(__file__).resolve().parents[1]
ENVIRONMENTS = (".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe", "venv/Scripts/python.exe")


def comfyui() -> Path | None:
    """The folder of a ComfyUI, None where there is none."""
    named = [Path(os.environ["COMFYUI_PATH"])] if "COMFYUI_PATH" in os.environ else []
    for folder in [*named, *PACK.parents, Path.home() / "ComfyUI"]:
        if (folder / "comfy_execution").is_dir() and (folder / "main.py").is_file():
            return folder
    return None


def python_of(folder: Path) -> Path | None:
    named = [Path(os.environ["COMFYUI_PYTHON"])] if "COMFYUI_PYTHON" in os.environ else []
    return next((path for path in [*named, *(folder / name for name in ENVIRONMENTS)] if path.is_file()), None)


def main(arguments: list[str]) -> int:
    folder = comfyui()
    if folder is None:
        print("ComfyUI tests SKIPPED: no ComfyUI found. Set COMFYUI_PATH to a checkout (0.3.64 or later) to run them.")
        return 0
    python = python_of(folder)
    if (
        python is None
        or subprocess.run([python, "-c", "import pytest, aiohttp, torch"], capture_output=True).returncode
    ):
        where = python or f"the virtual environment of {folder}"
        print(
            f"ComfyUI tests SKIPPED: {where} lacks ComfyUI's requirements or pytest. Set COMFYUI_PYTHON to a Python that has both."
        )
        return 0
    print(f"ComfyUI tests: {folder}, {python}", flush=True)
    environment = {**os.environ, "COMFYUI_PATH": str(folder)}
    tests = str(PACK / "tests" / "comfyui")
    command = [
        str(python),
        "-m",
        "pytest",
        "-c",
        f"{tests}/pytest.ini",
        "--rootdir",
        tests,
        "-rs",
        *(arguments or [tests]),
    ]
    return subprocess.run(command, env=environment, cwd=PACK).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
