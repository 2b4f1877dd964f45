"""Installing the pack changes nothing of what ComfyUI brought."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
COMFYUIS = Path(os.environ["COMFYUI_PATH"]) / "requirements.txt"


def requirements(path: Path) -> dict[str, Requirement]:
    """The lines of a requirements file, by normalised name."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


OURS = requirements(REQUIREMENTS)
THEIRS = requirements(COMFYUIS)


def lowest(requirement: Requirement) -> Version | None:
    """The lowest version that it allows; None where any is allowed."""
    bounds = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==", "~=")]
    return max(bounds, default=None)


def test_we_need_no_package_that_comfyui_does_not_bring():
    assert set(OURS) - set(THEIRS) == set()


@pytest.mark.parametrize("name", OURS)
def test_the_lowest_version_that_comfyui_allows_is_enough(name):
    bound = lowest(THEIRS[name])
    if bound is None:
        assert not OURS[name].specifier, f"ComfyUI allows any {name}"
    else:
        assert OURS[name].specifier.contains(bound, prereleases=True), f"ComfyUI allows {name} {bound}"


@pytest.mark.parametrize("name", OURS)
def test_no_newer_version_is_refused(name):
    assert {part.operator for part in OURS[name].specifier} <= {">="}


def test_pip_would_install_nothing():
    pytest.importorskip("pip", reason="ComfyUI's Python has no pip to ask")
    # Isolated and without an index: whatever is not installed already is an error.
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--dry-run", "--no-index", "-r", REQUIREMENTS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Requirement already satisfied: transformers" in done.stdout
    assert "Would install" not in done.stdout
