"""The section of the model card that holds one edition against another."""

from __future__ import annotations

from collections.abc import Mapping

from ar_core.tables import markdown_table

from .editions import Edition
from .evaluation import Table
from .intervals import NOTHING, Numbers, difference_of_proportions, difference_text, mean_interval
from .summaries import GROUPS, MEASURES, Values, subjects_of_group


def differences_section(newer: Edition, older: Edition) -> list[str]:
    """`newer` - `older`, in all that both were asked."""
    lines = [
        f"## {newer.name} − {older.name}",
        "",
        "Of samples: Newcombe's interval. Of personalization: Student's over subjects. Each interval is by itself: of "
        "twenty, one leaves zero out by chance.",
        "",
    ]
    for part in ("samples", "pairs"):
        lines += [*differences_of_samples(newer.table, older.table, part), ""]
    if "personalization" in newer.table:
        for group in GROUPS:
            lines += [f"### Subjects, {group}", "", *differences_of_subjects(newer.table, older.table, group), ""]
    return lines


def differences_of_samples(newer: Table, older: Table, part: str) -> list[str]:
    """A table over the rows that both have."""
    titles = [title for title in newer[part] if title in older[part]]
    columns = list(newer[part][titles[0]])
    rows = []
    for title in titles:
        pairs = [(newer[part][title][column], older[part][title][column]) for column in columns]
        rows.append([title, *(difference_text(difference_of_proportions(*pair)) for pair in pairs)])
    return markdown_table(["", *columns], rows)


def differences_of_subjects(newer: Table, older: Table, group: str) -> list[str]:
    """A table by condition and measure, over the subjects of a group."""
    rows = []
    for condition, found in newer["personalization"].items():
        before = older["personalization"][condition]["subjects"]
        names = subjects_of_group([name for name in found["subjects"] if name in before], group)
        cells = [condition]
        for measure in MEASURES:
            difference = mean_difference(found["subjects"], before, names, measure)
            if difference is None:
                cells.append(NOTHING)
            else:
                cells.append(difference_text(difference))
        rows.append(cells)
    return markdown_table(["", *MEASURES], rows)


def mean_difference(
    newer: Mapping[str, Values], older: Mapping[str, Values], names: list[str], measure: str
) -> Numbers | None:
    """The mean of the same subjects' differences; None where nobody has the measure."""
    known = [name for name in names if measure in newer[name]]
    if not known:
        return None
    return mean_interval([newer[name][measure] - older[name][measure] for name in known])
