"""Numbers with their 95 % intervals, as [value, low, high]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ar_core.dreambench.statistics import mean_interval as student_interval
from ar_core.tables import markdown_table

NOTHING = "–"  # in a table, where nothing was measured
Numbers = list[float]  # value, low, high; or the value alone, or nothing


def wilson_interval(hits: int, count: int, z: float = 1.96) -> Numbers:
    """A proportion with Wilson's interval."""
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    low = max(0.0, centre - half)  # rounding errors lie around it
    return [round(value, 4) for value in (share, low, centre + half)]


def mean_interval(values: Sequence[float]) -> Numbers:
    """A mean with Student's interval; the mean alone where the values are too few for one."""
    return [round(value, 4) for value in student_interval(values) if not math.isnan(value)]


def difference_of_proportions(one: Numbers, other: Numbers) -> Numbers:
    """`one` - `other`, two proportions with Wilson's intervals, with Newcombe's interval (1998, method 10).

    It takes the two for independent; of answers to the same questions it is a little too wide.
    """
    below = ((one[0] - one[1]) ** 2 + (other[2] - other[0]) ** 2) ** 0.5
    above = ((one[2] - one[0]) ** 2 + (other[0] - other[1]) ** 2) ** 0.5
    difference = one[0] - other[0]
    return [round(value, 4) for value in (difference, difference - below, difference + above)]


def interval_text(numbers: Numbers) -> str:
    """ "0.52 (0.48–0.56)"."""
    if not numbers:
        return NOTHING
    value, *ends = numbers
    digits = 2
    if value > 2:
        digits = 1
    if not ends:
        return f"{value:.{digits}f} ({NOTHING})"
    low, high = ends
    return f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def difference_text(numbers: Numbers) -> str:
    """ "+0.05 (-0.01 to +0.11)"."""
    if not numbers:
        return NOTHING
    value, *ends = numbers
    if not ends:
        return f"{value:+.2f} ({NOTHING})"
    low, high = ends
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def interval_table(rows: Mapping[str, Mapping[str, Numbers]]) -> list[str]:
    """A Markdown table: `rows` by title. A column that a row lacks stays empty there."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = []
    for title, row in rows.items():
        known = {column: interval_text(numbers) for column, numbers in row.items()}
        cells.append([title, *(known.get(column, NOTHING) for column in columns)])
    return markdown_table(["", *columns], cells)
