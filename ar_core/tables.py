"""Tables: Markdown for people to read, CSV from them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from .files import read_text


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a row has as many cells as the head."""
    return [markdown_row(head), "|---" * len(head) + "|", *(markdown_row(row) for row in rows)]


def markdown_row(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


class TableError(ValueError):
    """A CSV file that is no table of the columns that are needed; the message names it."""


def read_csv(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a first line of column names; a missing cell is "".

    Raises TableError where it is none, lacks a column, names one twice or has no row, and
    UnreadableFile.
    """
    try:
        lines = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise TableError(f"{path} cannot be read as a CSV table ({error}).") from error
    names = [name.strip() for name in lines[0]] if lines else []
    if not set(needed) <= set(names) or len(lines) < 2:
        raise TableError(f"{path} needs a first line with the columns {', '.join(needed)}, and lines below it.")
    for name in names:
        if names.count(name) > 1:
            raise TableError(f"{path} has two columns {name!r}. Keep one.")
    rows = []
    for line in lines[1:]:
        cells = [*line, *[""] * (len(names) - len(line))]
        rows.append(dict(zip(names, cells, strict=False)))
    return rows
