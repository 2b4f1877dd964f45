"""Checks the types of engine, nodes, workshop, benchmarks and scripts with mypy: `python scripts/check_types.py`.

The nodes import the engine as `..ar_core`, because ComfyUI loads the pack under a name of its own. mypy needs a name
for the folder above both: it sees the repository through a link called `pack`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".mypy_cache"


def mypy(folder: Path, *packages: str) -> int:
    """Check `packages` as they are imported in `folder`; the exit code."""
    command = [sys.executable, "-m", "mypy"]
    command += ["--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(CACHE / "results")]
    for package in packages:
        command += ["-p", package]
    return subprocess.run(command, cwd=folder).returncode


def linked_repository() -> Path:
    """The folder that holds the link `pack` to the repository."""
    folder = CACHE / "linked"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "pack"
    if link.is_symlink() and link.resolve() != ROOT:
        link.unlink()  # the repository was moved or copied
    if not link.exists():
        link.symlink_to(ROOT, target_is_directory=True)
    return folder


def main() -> int:
    codes = [
        mypy(linked_repository(), "pack.ar_core", "pack.nodes"),
        mypy(ROOT, "workshop", "benchmarks", "scripts"),
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
