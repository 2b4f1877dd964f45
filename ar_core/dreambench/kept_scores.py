"""Scores of before, and numbers of anybody: what can stand in a table beside pictures that are scored now."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import read_json, read_text
from ..quoting import quoted
from .protocol import Protocol
from .scoring import ScoredPicture, SubjectScores
from .statistics import NAN

METHOD = "method"
SUBJECT = "subject"


class ScoresError(ValueError):
    """Scores that cannot be read; the message names the file and what it should hold."""


def read_report(path: Path) -> tuple[list[SubjectScores], Protocol]:
    """The subjects of a scores.json, or of that in a folder, and how they were measured. Raises ScoresError."""
    if path.is_dir():
        path = path / "scores.json"
    if not path.is_file():
        raise ScoresError(f"{path} does not exist. Give a scores.json, or the folder that holds one.")
    found = read_json(path)
    try:
        protocol = Protocol.read(found["protocol"])
        if protocol.id != found["protocol"]["id"]:
            raise ValueError("its id does not fit what it says of how it was measured")
        subjects = [_read_subject(name, fields, protocol) for name, fields in found["subjects"].items()]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ScoresError(
            f"{path} is no report that says how it was measured ({type(error).__name__}: {error}). Score its pictures "
            "again; reports of earlier versions say less."
        ) from error
    return subjects, protocol


def _read_subject(name: str, fields: Mapping[str, Any], protocol: Protocol) -> SubjectScores:
    measures = tuple(map(str, fields["measures"]))
    whole = {measure: _number(fields[measure]) for measure in fields["whole"]}
    of_pictures = [measure for measure in measures if measure not in whole]
    pictures = tuple(_read_picture(picture, of_pictures) for picture in fields["pictures"])
    real = {measure: _number(value) for measure, value in fields["real images"].items()}
    return SubjectScores(
        name,
        measures,
        pictures,
        real,
        _number(fields["diversity"]),
        _number(fields["prior preservation"]),
        whole,
        protocol.subjects[name],
    )


def _read_picture(fields: Mapping[str, Any], measures: Sequence[str]) -> ScoredPicture:
    return ScoredPicture(
        fields["subject"],
        fields["prompt"],
        fields["file"],
        fields["capability"],
        tuple(_number(fields[measure]) for measure in measures),
        _number(fields["nearest_photo"]),
        bool(fields["copied"]),
    )


def _number(value: float | None) -> float:
    """JSON has null where a number does not exist."""
    if value is None:
        return NAN
    return float(value)


def read_numbers(path: Path, measures: Sequence[str]) -> dict[str, list[SubjectScores]]:
    """A CSV of other methods' means per subject: columns method, subject and any of `measures`.

    A measure that has no column, or an empty cell, counts as not measured. Raises ScoresError.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        rows = list(reader)
    except csv.Error as error:
        raise ScoresError(f"{path} cannot be read as a CSV table ({error}).") from error
    columns = set(reader.fieldnames or ())
    if not {METHOD, SUBJECT} <= columns or not set(measures) & columns:
        raise ScoresError(
            f"{path} needs a first line with the columns {METHOD}, {SUBJECT} and some of {', '.join(measures)}, and a "
            "line per method and subject."
        )
    found: dict[str, list[SubjectScores]] = {}
    for number, row in enumerate(rows, 2):
        method = (row[METHOD] or "").strip()
        subject = (row[SUBJECT] or "").strip()
        if not method or not subject:
            raise ScoresError(f"{path}, line {number}: {METHOD} or {SUBJECT} is empty.")
        if any(known.subject == subject for known in found.get(method, ())):
            raise ScoresError(f"{path}, line {number}: {quoted(method)} has {quoted(subject)} a second time.")
        values = tuple(_cell(row.get(measure), path, number, measure) for measure in measures)
        found.setdefault(method, []).append(_only_means(subject, tuple(measures), values, path))
    return found


def _cell(text: str | None, path: Path, line: int, measure: str) -> float:
    if not text or not text.strip():
        return NAN
    try:
        value = float(text)
    except ValueError:
        value = NAN
    if not math.isfinite(value) or not -1 <= value <= 1:
        raise ScoresError(
            f"{path}, line {line}: {measure} is {quoted(text)}; it must be a cosine from -1 to 1, neither percent nor "
            "times 2.5."
        )
    return value


def _only_means(subject: str, measures: tuple[str, ...], values: tuple[float, ...], path: Path) -> SubjectScores:
    """A subject of which nothing is known but its means."""
    alone = ScoredPicture(subject, "", str(path), "", values, NAN, False)
    return SubjectScores(subject, measures, (alone,), {}, NAN, NAN)
