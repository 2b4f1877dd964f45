"""ComfyUI's own memory management on this card: the miniature is loaded and drawn with DynamicVRAM off and on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .random_model import is_rehearsal
from .rows import MARK, row

SCRIPT = Path(__file__).with_name("comfyui_draw.py")
SECONDS = 28  # for each


def run(folder: Path | None) -> None:
    if folder is None:
        row(missing="no --comfyui FOLDER was given: ComfyUI's Python files, and wheels that this Python lacks")
        return
    with tempfile.TemporaryDirectory() as unpacked:
        for wheel in sorted((folder / "wheels").glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked)
        for dynamic in ("off", "on"):
            draw(folder.resolve(), unpacked, dynamic)


def draw(folder: Path, wheels: str, dynamic: str) -> None:
    """In a process of its own, for ComfyUI chooses once when it is imported."""
    device = "card"
    if is_rehearsal():
        device = "cpu"
    command = [sys.executable, "-u", str(SCRIPT), str(folder), dynamic, device]
    paths = [str(folder), wheels, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, timeout=SECONDS, check=False, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        row(dynamic_vram=dynamic, failed=f"stopped after {SECONDS} s")
        return
    rows = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    print("\n".join(rows), flush=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        row(dynamic_vram=dynamic, failed=" | ".join(said[-2:])[-300:])
