"""Numbers with their 95 % intervals, as [value, low, high]."""

from __future__ import annotations

from collections.abc import Sequence

from ar_core.dreambench.statistics import bootstrap
from ar_core.tables import markdown_table

DRAWS = 2000  # of a bootstrap
Numbers = list[float]  # value, low, high


def wilson_interval(hits: int, count: int, z: float = 1.96) -> Numbers:
    """A proportion with Wilson's interval."""
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return [round(value, 4) for value in (share, centre - half, centre + half)]


def mean_interval(values: Sequence[float]) -> Numbers:
    """A mean with its bootstrap interval."""
    return [round(value, 4) for value in bootstrap(values, DRAWS)]


def interval_text(numbers: Numbers) -> str:
    """ "0.52 (0.48–0.56)"."""
    value, low, high = numbers
    digits = 2
    if value > 2:
        digits = 1
    return f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def interval_table(rows: dict[str, dict[str, Numbers]]) -> list[str]:
    """A Markdown table: `rows` by title, each with the same columns."""
    columns = list(next(iter(rows.values())))
    cells = [[title, *(interval_text(row[column]) for column in columns)] for title, row in rows.items()]
    return markdown_table(["", *columns], cells)
