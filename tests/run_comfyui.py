"""Runs tests/comfyui in the Python of each ComfyUI there is, or says how to enable them.

    python tests/run_comfyui.py [--short] [--table FILE] [pytest arguments]

COMFYUI_PATHS names checkouts, separated as in PATH; COMFYUI_PATH names one. Without either, ComfyUI is looked for in
the folders above this checkout, and at ~/ComfyUI. The Python is COMFYUI_PYTHON, else that of each checkout's own
virtual environment.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

PACK = Path(__file__).resolve().parents[1]
TESTS = PACK / "tests" / "comfyui"
ENVIRONMENTS = (".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe", "venv/Scripts/python.exe")
NEEDED = "import pytest, aiohttp, torch"
SHORT = ("test_pack.py", "test_loading.py", "test_install.py")
NONE_FOUND = """
************************************************************************************************
NO COMFYUI WAS FOUND: the node pack itself was NOT tested. Set COMFYUI_PATH to a checkout (0.3.64
or later) with its requirements and pytest installed, or COMFYUI_PATHS to several.
************************************************************************************************
"""
INTRODUCTION = """# Versions of ComfyUI

What came of the tests of the node pack, in each version that was at hand, on a CPU: node by node, through a running
server, and in a browser. `make test-comfyui` writes this page. A plus behind the commit: with changes that were not yet
committed.
"""
HEAD = ("| ComfyUI | Python | passed | failed | skipped | time | commit |", "|---|---|---|---|---|---|---|")


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


@dataclass(frozen=True)
class Outcome:
    """What came of the tests in one ComfyUI. `status` is pytest's; counts are None where nothing ran."""

    folder: Path
    status: int = 0
    skipped_because: str = ""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    minutes: float = 0.0

    def line(self) -> str:
        """For the summary."""
        version = f"ComfyUI {version_of(self.folder)} in {self.folder}"
        if self.skipped_because:
            return f"{version}: SKIPPED: {self.skipped_because}"
        word = "FAILED" if self.status else "passed"
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{version}: {word} in {self.minutes:.1f} min ({counts})"


def run(folder: Path, arguments: list[str]) -> Outcome:
    """Run the tests in one ComfyUI."""
    python = python_of(folder)
    if python is None or subprocess.run([python, "-c", NEEDED], capture_output=True).returncode:
        where = python or f"the virtual environment of {folder}"
        advice = "Set COMFYUI_PYTHON to a Python that has both."
        return Outcome(folder, skipped_because=f"{where} lacks ComfyUI's requirements or pytest. {advice}")
    print(f"ComfyUI tests: {folder}, {python}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        settings = ["-c", str(TESTS / "pytest.ini"), "--rootdir", str(TESTS), "-rs", f"--junitxml={report}"]
        command = [str(python), "-m", "pytest", *settings, *(arguments or [str(TESTS)])]
        environment = {**os.environ, "COMFYUI_PATH": str(folder)}
        started = time.monotonic()
        status = subprocess.run(command, env=environment, cwd=PACK).returncode
        minutes = (time.monotonic() - started) / 60
        return Outcome(folder, status, "", *counts_of(report), minutes)


def counts_of(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of a pytest report; zeros where there is none."""
    if not report.is_file():
        return 0, 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def write_table(path: Path, outcomes: list[Outcome]) -> None:
    """What came of a full run in every ComfyUI, as Markdown."""
    rows = [
        f"| {version_of(o.folder)} | {python_version(o.folder)} | {o.passed} | {o.failed} | {o.skipped} | "
        f"{o.minutes:.1f} min | {commit_of(PACK)} |"
        for o in outcomes
        if not o.skipped_because
    ]
    table = "\n".join([*HEAD, *rows])
    path.write_text(f"{INTRODUCTION}\n{table}\n", encoding="utf-8")
    print(f"wrote {path}")


def python_version(folder: Path) -> str:
    """ "3.11.9, torch 2.14.1": what the tests ran in."""
    program = "import platform, torch; print(platform.python_version() + ', torch ' + torch.__version__)"
    command = [str(python_of(folder)), "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit_of(folder: Path) -> str:
    """The commit that is checked out, with a plus where files differ from it; "" outside a checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Run the tests of the node pack in every ComfyUI.")
    parser.add_argument("--short", action="store_true", help="only the quick ones: what `make test` runs")
    parser.add_argument("--table", type=Path, help="write what came of a full run into this Markdown file")
    options, for_pytest = parser.parse_known_args(arguments)
    folders = checkouts()
    if not folders:
        print(NONE_FOUND)
        return 0
    if options.short:
        for_pytest += [str(TESTS / name) for name in SHORT]
    outcomes = [run(folder, for_pytest) for folder in folders]
    for outcome in outcomes:
        print(outcome.line())
    if options.table:
        write_table(options.table, outcomes)
    return max(outcome.status for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
