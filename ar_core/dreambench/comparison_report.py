"""Several methods in one table, with their differences: JSON for programs, Markdown for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import ensure_folder, write_json, write_text
from ..tables import markdown_table
from .comparisons import Comparison, Finding, Findings, Scored, against_first, compare
from .over_subjects import REAL, real_images_over_subjects, scores_over_subjects
from .protocol import Protocol
from .report import introduction, published_rows, row_cells
from .statistics import FEWEST, LEVEL

COMPARISON_FILES = ("comparison.json", "comparison.md")  # for programs, for people


def write_comparison(
    out: Path,
    scored: Scored,
    protocol: Protocol,
    primary: Comparison | None,
    more: Sequence[Comparison] = (),
    notes: Sequence[str] = (),
) -> list[Path]:
    """comparison.json and comparison.md in `out`, made anew; returns their paths. Raises OSError.

    `protocol`: how the first method was measured. `primary`, `more`: as for `found_differences`. `notes`: what is not
    as in a whole table.
    """
    findings = found_differences(scored, primary, more)
    found = {
        "protocol": protocol.describe(),
        "scale": "raw cosine",
        "real images": real_images_over_subjects(scored[next(iter(scored))]),
        "methods": {method: scores_over_subjects(subjects) for method, subjects in scored.items()},
        "subjects": {method: len(subjects) for method, subjects in scored.items()},
        "notes": list(notes),
        "named in advance": None if primary is None else str(primary),
        "differences": [finding_fields(finding) for finding in findings.values()],
    }
    ensure_folder(out)
    return [
        write_json(out / COMPARISON_FILES[0], found),
        write_text(out / COMPARISON_FILES[1], comparison_as_markdown(scored, protocol.names, findings, notes)),
    ]


def found_differences(scored: Scored, primary: Comparison | None, more: Sequence[Comparison] = ()) -> Findings:
    """The first method against every other in every measure, `primary`, and `more`, all corrected together."""
    asked = [*against_first(scored), *more]
    if primary is not None:
        asked.insert(0, primary)
    return compare(scored, asked, primary)


def finding_fields(finding: Finding) -> dict[str, Any]:
    """A finding's part of the JSON."""
    comparison = finding.comparison
    return {
        "more": comparison.more,
        "less": comparison.less,
        "measure": comparison.measure,
        **finding.difference._asdict(),
        "p corrected": finding.corrected,
        "named in advance": finding.primary,
        "subjects": finding.subjects,
    }


def comparison_as_markdown(
    scored: Scored, names: Mapping[str, str], findings: Findings, notes: Sequence[str] = ()
) -> str:
    """All methods in one table, then the differences of the first to the others, paired by subject."""
    first, *others = scored
    subjects = scored[first]
    measures = subjects[0].measures
    rows = [row_cells(REAL, real_images_over_subjects(subjects), measures)]
    for method, results in scored.items():
        title = method
        if len({len(those) for those in scored.values()}) > 1:
            title = f"{method} ({len(results)} subjects)"
        rows.append(row_cells(title, scores_over_subjects(results), measures))
    lines = [*introduction(subjects, names), *markdown_table(["", *measures], rows), *published_rows(measures)]
    if others:
        rows = []
        for other in others:
            rows.append([other, *(str(findings[Comparison(first, other, measure)]) for measure in measures)])
        lines += ["", *markdown_table([f"{first} minus …", *measures], rows), "", *how_to_read(findings)]
    if notes:
        lines += ["", *(f"Note: {note}" for note in notes)]
    return "\n".join(lines)


def how_to_read(findings: Findings) -> list[str]:
    """What the table of differences means, for who sees one for the first time."""
    primary = next((finding for finding in findings.values() if finding.primary), None)
    others = [finding.comparison for finding in findings.values() if not finding.primary and is_tested(finding)]
    questions = len({frozenset((one, one.reversed)) for one in others})
    lines = []
    if primary is not None and is_tested(primary):
        lines.append(f"Named in advance and tested by itself: {primary.comparison}.")
    elif primary is not None:
        lines.append(
            f"Named in advance: {primary.comparison}. It cannot be tested: {primary.subjects} subject(s) have both "
            "numbers."
        )
    lines.append(
        f"Student's paired t over subjects; below {FEWEST} of them there is neither interval nor test. Each interval "
        f"is by itself. Bold: p below {LEVEL}."
    )
    if questions:
        lines.append(f"The p of the {questions} other comparisons of this page are corrected together (Holm).")
    return lines


def is_tested(finding: Finding) -> bool:
    """Whether there were enough subjects for a test."""
    return not math.isnan(finding.difference.p)
