"""Editions of the miniature that one card compares: rows for each, and the differences between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .evaluation import Table
from .intervals import Numbers
from .setup import Setup

Rows = Mapping[str, Mapping[str, Numbers]]


@dataclass(frozen=True)
class Edition:
    """A model under a name, and what was measured of it."""

    name: str
    setup: Setup
    table: Table

    @property
    def fingerprint(self) -> str:
        """Of its weights."""
        return self.setup.model.fingerprint

    def as_json(self) -> dict[str, Any]:
        """Its numbers."""
        return {"fingerprint": self.fingerprint, **self.table}


def rows_of_editions(editions: Sequence[Edition], rows_of: Callable[[Table], Rows]) -> dict[str, Mapping[str, Numbers]]:
    """The rows of all editions, those of one title beneath each other."""
    of_each = {edition.name: rows_of(edition.table) for edition in editions}
    titles = dict.fromkeys(title for rows in of_each.values() for title in rows)
    found = {}
    for title in titles:
        for name, rows in of_each.items():
            if title in rows:
                found[title_of(editions, name, title)] = rows[title]
    return found


def title_of(editions: Sequence[Edition], name: str, title: str) -> str:
    """A row's title; it names the edition where there are several."""
    if len(editions) == 1:
        return title
    return f"{title}, {name}"
