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


def as_markdown(machine: object, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """The report as a page: a table for all rows of a section that have the same names."""
    lines = ["# What a card answered", "", f"`python -m benchmarks.card` on {machine}.", ""]
    for name, section in sections.items():
        lines += [f"## {name}", "", f"{section['ended']}, {section['seconds']} s", ""]
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
