"""Rows of the report: one JSON line for each answer, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ar_core.tables import markdown_table

MARK = "row: "


def row(**values: Any) -> None:
    """Print an answer, for the process that collects them."""
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}
    print(MARK + json.dumps(rounded, ensure_ascii=False), flush=True)


def found_in(lines: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows among a section's lines, and the other lines."""
    rows = []
    others = []
    for line in lines:
        if line.startswith(MARK):
            rows.append(json.loads(line.removeprefix(MARK)))
        elif line.strip():
            others.append(line)
    return rows, others


TITLE = "# What a card answered"
REHEARSAL = "# A rehearsal without a card: tiny dimensions, and no number means anything"
LEGEND = """Ratios are of one run. `of_floor`: the share of the bandwidth that was measured first which a step reaches
when it reads every weight once; `floor_ms`: how long that reading takes. `s_per_picture_simulated`: with windows, the
steps that the published rates of acceptance would leave. `…_differ_by_sd`: the largest difference of logits in their
standard deviations. `faster_than_masked`: over plain steps with a mask, which take turns with each way. `peak_gib` of
training is beside the weights, elsewhere with them; `computed_gib` is what `ar_core/memory.py` promises. `cap_gb`:
torch was held to so much memory. `missing`: what this machine lacks for a row.
"""


def as_markdown(machine: object, sections: Mapping[str, Mapping[str, Any]], rehearsal: bool = False) -> str:
    """The report as a page: a table for all rows of a section that have the same names."""
    title = REHEARSAL if rehearsal else TITLE
    lines = [title, "", f"`python -m benchmarks.card` on {machine}.", "", LEGEND]
    for name, section in sections.items():
        lines += [f"## {name}: {section['question']}", "", f"{section['ended']}, {section['seconds']} s", ""]
        for group in grouped(section["rows"]):
            head = list(group[0])
            lines += [*markdown_table(head, [[cell(row[column]) for column in head] for row in group]), ""]
        if section.get("last_lines"):
            lines += ["```", *section["last_lines"], "```", ""]
    return "\n".join(lines)


def grouped(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows with the same names, in order of the first of each kind."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for found in rows:
        groups.setdefault(tuple(found), []).append(found)
    return list(groups.values())


def cell(value: object) -> str:
    """A value in a table."""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return str(value).replace("|", "/")
