"""Checks the types of engine, nodes, workshop and benchmarks with mypy: `python scripts/check_types.py`.

The nodes import the engine as `..ar_core`, because ComfyUI loads the pack under a name of its own. mypy needs a name for the
folder above both: it sees the pack through a link called `pack`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".mypy_cache"


def mypy(folder: Path, *packages: str) -> int:
    """Check `packages` as they are imported in `folder`; the exit code."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(CACHE / "results"),
    ]
    for package in packages:
        command += ["-p", package]
    return subprocess.run(command, cwd=folder).returncode


def main() -> int:
    linked = CACHE / "linked"
    linked.mkdir(parents=True, exist_ok=True)
    link = linked / "pack"
    if not link.exists():
        link.symlink_to(ROOT, target_is_directory=True)
    return mypy(linked, "pack.ar_core", "pack.nodes") or mypy(ROOT, "workshop", "benchmarks")


if __name__ == "__main__":
    sys.exit(main())
