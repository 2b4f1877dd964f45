"""Scores of before, and numbers of anybody: what can stand in a table beside pictures that are scored now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..files import read_json
from ..quoting import quoted
from ..tables import TableError, read_csv
from .protocol import Protocol
from .scoring import ScoredPicture, SubjectScores
from .statistics import NAN

LARGEST = 1.001  # a cosine, with rounding
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
        if not found["complete"]:
            raise ValueError("the scoring was stopped before its end")
        protocol = Protocol.read(found["protocol"])
        if protocol.id != found["protocol"]["id"]:
            raise ValueError("its id does not fit what it says of how it was measured")
        subjects = [_read_subject(name, fields, protocol) for name, fields in found["subjects"].items()]
        if len({subject.measures for subject in subjects}) != 1:
            raise ValueError("its subjects have different measures, or there are none")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ScoresError(
            f"{path} cannot stand in a table ({type(error).__name__}: {error}). Score its pictures again; reports of "
            "earlier versions do not say how they were measured."
        ) from error
    return subjects, protocol


def _read_subject(name: str, fields: Mapping[str, Any], protocol: Protocol) -> SubjectScores:
    measures = tuple(map(str, fields["measures"]))
    whole = {measure: _number(fields[measure]) for measure in fields["whole"]}
    of_pictures = [measure for measure in measures if measure not in whole]
    pictures = tuple(_read_picture(picture, of_pictures) for picture in fields["pictures"])
    if {picture.prompt for picture in pictures} != set(protocol.subjects[name].prompts) or not of_pictures:
        raise ValueError(f"the pictures of {name} are not those that it says were measured")
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
    if not isinstance(fields["prompt"], str) or not fields["prompt"]:
        raise ValueError("a picture has no prompt")
    return ScoredPicture(
        str(fields["subject"]),
        fields["prompt"],
        str(fields["file"]),
        str(fields["capability"]),
        tuple(_cosine(fields[measure]) for measure in measures),
        _number(fields["nearest_photo"]),
        bool(fields["copied"]),
    )


def _number(value: object) -> float:
    """JSON has null where a number does not exist."""
    if value is None:
        return NAN
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{quoted(value)} is no number")
    return float(value)


def _cosine(value: object) -> float:
    number = _number(value)
    if abs(number) > LARGEST:
        raise ValueError(f"{number} is no cosine")
    return number


def read_numbers(path: Path, measures: Sequence[str]) -> dict[str, list[SubjectScores]]:
    """A CSV of other methods' means per subject: columns method, subject and any of `measures`.

    A measure that has no column, or an empty cell, counts as not measured. Raises ScoresError.
    """
    try:
        rows = read_csv(path, (METHOD, SUBJECT))
    except TableError as error:
        raise ScoresError(str(error)) from error
    if not set(measures) & set(rows[0]):
        raise ScoresError(f"{path} has none of the columns {', '.join(measures)}, which this table is about.")
    found: dict[str, list[SubjectScores]] = {}
    for number, row in enumerate(rows, 2):
        method = row[METHOD].strip()
        subject = row[SUBJECT].strip()
        if not method or not subject:
            raise ScoresError(f"{path}, line {number}: {METHOD} or {SUBJECT} is empty.")
        if any(known.subject == subject for known in found.get(method, ())):
            raise ScoresError(f"{path}, line {number}: {quoted(method)} has {quoted(subject)} a second time.")
        values = tuple(_cell(row.get(measure, ""), path, number, measure) for measure in measures)
        found.setdefault(method, []).append(_only_means(subject, tuple(measures), values, path))
    return found


def _cell(text: str, path: Path, line: int, measure: str) -> float:
    if not text.strip():
        return NAN
    value = NAN
    if "_" not in text:  # Python would read 0_1 as 1
        with suppress(ValueError):
            value = float(text)
    if not math.isfinite(value) or abs(value) > 1:
        raise ScoresError(
            f"{path}, line {line}: {measure} is {quoted(text)}; it must be a cosine from -1 to 1, neither percent nor "
            "times 2.5."
        )
    return value


def _only_means(subject: str, measures: tuple[str, ...], values: tuple[float, ...], path: Path) -> SubjectScores:
    """A subject of which nothing is known but its means."""
    alone = ScoredPicture(subject, "", str(path), "", values, NAN, False)
    return SubjectScores(subject, measures, (alone,), {}, NAN, NAN)
