"""The card report: rehearsed on this CPU, and what becomes of its rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import torch

from benchmarks.card import SECTIONS
from benchmarks.card.__main__ import output_of
from benchmarks.card.random_model import dimensions, random_transformer
from benchmarks.card.rows import MARK, as_markdown, found_in

ROOT = Path(__file__).parents[1]


def report(out: Path, *arguments: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.card", "--out", str(out), *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads((out / "card.json").read_text(encoding="utf-8"))


def test_sections_end_with_their_rows_or_with_what_is_missing(tmp_path):
    """The quickest two; all were rehearsed by hand (docs/log.md)."""
    found = report(tmp_path, "--only", "comfyui", "image tokenizer")
    comfyui, tokenizer = found["sections"]["comfyui"], found["sections"]["image tokenizer"]
    assert comfyui["ended"] == tokenizer["ended"] == "finished"
    assert "--comfyui FOLDER" in comfyui["rows"][0]["missing"]
    assert [row["what"] for row in tokenizer["rows"]] == ["read", "draw"]
    page = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert page.startswith("# A rehearsal without a card")
    assert "## image tokenizer: what does" in page and "| side | what | seconds |" in page


def test_a_stop_keeps_what_was_found_before(tmp_path):
    """Also of a section that hangs; and one that fails does not end the report."""
    hangs = [sys.executable, "-uc", "import time; print('row: {}'); time.sleep(60)"]
    assert output_of(hangs, 3) == (["row: {}"], "stopped at its limit of 3 s")
    starts_another = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(77)'])"
    output_of([sys.executable, "-c", starts_another], 2)
    running = [(process.info["cmdline"] or [""])[-1] for process in psutil.process_iter(["cmdline"])]
    assert "import time; time.sleep(77)" not in running
    fails = [sys.executable, "-uc", "print('row: {}'); raise SystemExit(3)"]
    assert output_of(fails, 60) == (["row: {}"], "failed with exit code 3")
    found = report(tmp_path, "--only", "image tokenizer", "--minutes", "0.01")
    assert found["sections"]["image tokenizer"]["ended"] == "not begun: no time left"


def test_every_section_can_be_imported():
    import importlib

    for section in SECTIONS.values():
        assert callable(importlib.import_module(f"benchmarks.card.{section.module}").run)
    assert sum(section.seconds for section in SECTIONS.values()) < 15 * 60


def test_rows_of_one_kind_are_one_table():
    lines = [
        f'{MARK}{{"a": 1, "b": true}}',
        "a warning",
        f'{MARK}{{"a": 2, "b": false}}',
        f'{MARK}{{"missing": "x|y"}}',
    ]
    rows, others = found_in(lines)
    assert others == ["a warning"]
    page = as_markdown(
        "a card", {"first": {"question": "how fast?", "ended": "finished", "seconds": 1.0, "rows": rows}}
    )
    assert "| a | b |\n|---|---|\n| 1 | yes |\n| 2 | **no** |" in page and "| x/y |" in page


def test_random_weights_are_like_those_of_a_model():
    """Quantised ones stand for numbers of about the same size."""
    plain = random_transformer()
    assert plain.config == dimensions() and plain.dtype == torch.bfloat16
    for scheme in ("int8", "4-bit"):
        model = random_transformer(scheme)
        layer = model.model.layers[0].self_attn.q_proj
        assert 0.005 < float(layer.restored(layer.weight, torch.float32).std()) < 0.05
