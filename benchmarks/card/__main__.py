"""Everything that only a graphics card can answer, on a bare machine with torch and this repository:

    python -m benchmarks.card --out DIR [--minutes 6] [--only SECTION ...] [--comfyui FOLDER]

Nothing is downloaded: random weights are made on the card. Every section is a process with a time limit of its own, in
order of value, so that a stop loses little; what a section had found when it was stopped is kept. All of them take
eleven minutes at most; six are enough for those that matter most. DIR gets `card.json` and `card.md`, the table that
belongs into docs/card/.

`--comfyui`: a folder with ComfyUI's Python files (`git clone https://github.com/comfyanonymous/ComfyUI`), and in its
subfolder `wheels` the wheels that this Python lacks (`pip download --no-deps -d wheels comfy-aimdo comfy-kitchen`).
Without a card that CUDA or ROCm drives, everything runs with tiny dimensions on the CPU: a rehearsal, whose numbers
mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from ar_core.files import write_json, write_text

from ..common.machine import default_device, machine
from . import SECTIONS
from .random_model import is_rehearsal
from .rows import REHEARSAL, as_markdown, found_in

FINISHED = "finished"
LEAST = 8  # seconds; with less left a section is not begun


def run_section(name: str, seconds: float, options: argparse.Namespace) -> dict[str, object]:
    """Run one section in a process of its own; what it found, and how it ended."""
    command = [sys.executable, "-u", "-m", "benchmarks.card", "--out", str(options.out), "--section", name]
    if options.comfyui:
        command += ["--comfyui", str(options.comfyui)]
    began = time.monotonic()
    lines, ended = output_of(command, seconds)
    rows, others = found_in(lines)
    result: dict[str, object] = {"ended": ended, "seconds": round(time.monotonic() - began, 1), "rows": rows}
    if ended != FINISHED:
        result["last_lines"] = others[-4:]
    return result


def output_of(command: Sequence[str], seconds: float) -> tuple[list[str], str]:
    """The lines that a process printed within its time, and how it ended."""
    ended = FINISHED
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
            if process.returncode:
                ended = f"failed with exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            stop_with_children(process)
            said, _ = process.communicate()
            ended = f"stopped at its limit of {seconds:.0f} s"
    return said.decode("utf-8", errors="replace").splitlines(), ended


def stop_with_children(process: subprocess.Popen) -> None:
    """End a process and those that it has started: they would go on using the card."""
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()


def run_all(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    if is_rehearsal():
        print(REHEARSAL.removeprefix("# "))
    report: dict[str, object] = {"machine": machine(default_device()), "sections": {}}
    sections: dict[str, dict[str, object]] = {}
    end = time.monotonic() + 60 * options.minutes
    for name in options.only or SECTIONS:
        left = min(SECTIONS[name].seconds, end - time.monotonic())
        if left < LEAST:
            sections[name] = {"ended": "not begun: no time left", "seconds": 0.0, "rows": []}
        else:
            sections[name] = run_section(name, left, options)
        sections[name]["question"] = SECTIONS[name].question
        report["sections"] = sections
        write_json(options.out / "card.json", report)
        write_text(options.out / "card.md", as_markdown(report["machine"], sections, is_rehearsal()))
        print(f"{name}: {sections[name]['ended']}, {sections[name]['seconds']} s", flush=True)
        for row in sections[name]["rows"]:  # type: ignore[attr-defined]
            print(f"   {json.dumps(row, ensure_ascii=False)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS))
    parser.add_argument("--comfyui", type=Path, metavar="FOLDER")
    parser.add_argument("--section", choices=tuple(SECTIONS), help=argparse.SUPPRESS)  # the process of one
    options = parser.parse_args()
    if options.section:
        SECTIONS[options.section].run(options.comfyui)
    else:
        run_all(options)


if __name__ == "__main__":
    main()
