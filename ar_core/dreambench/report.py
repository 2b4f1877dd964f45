"""Scores as files: JSON and CSV for programs, Markdown for people."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import (
    ensure_folder,
    json_value,
    numbered_paths,
    write_image,
    write_json,
    write_numbered,
    write_text,
)
from ..tables import markdown_row, markdown_table
from .encoders import PAPER_ENCODERS
from .over_subjects import Row, score_table
from .protocol import Protocol
from .published import PUBLISHED
from .scoring import ScoredPicture, SubjectScores
from .statistics import FEWEST, Interval, number_text

SCORES = "scores.json"
TABLES = ("scores.md", "scores.csv")  # for people, for programs


def write_report(
    out: Path,
    subjects: Sequence[SubjectScores],
    protocol: Protocol,
    title: str,
    sheets: Mapping[str, Image.Image],
    *,
    replace: bool = True,
    complete: bool = True,
) -> list[Path]:
    """scores.json, scores.md, scores.csv and one sheet per subject in `out`; returns their paths. Raises OSError.

    `protocol`: how they were measured. `title`: what the table calls the pictures. `sheets`: by subject. Without
    `replace` raises FileExistsError where there is a scores.json by then, whoever made it; the others are numbered on.
    `complete`: False where scoring was stopped before all subjects.
    """
    ensure_folder(out)
    rows = score_table(subjects, title)
    texts = (scores_as_markdown(subjects, rows, protocol.names), scores_as_csv(subjects, title))
    writers: dict[str, Callable[..., Path]] = {}
    for name, text in zip(TABLES, texts, strict=True):
        writers[name] = partial(write_text, text=text)
    for subject, picture in sheets.items():
        writers[f"{subject}.png"] = partial(write_image, image=picture)
    paths = [write_json(out / SCORES, scores_as_json(subjects, rows, protocol, complete=complete), replace=replace)]
    for name, write in writers.items():
        if replace:
            paths.append(write(out / name))
        else:
            paths.append(write_numbered(out / name, partial(write, replace=False)))
    return paths


def write_new_report(
    out: Path,
    subjects: Sequence[SubjectScores],
    protocol: Protocol,
    title: str,
    sheets: Mapping[str, Image.Image],
    *,
    complete: bool = True,
) -> list[Path]:
    """As `write_report`, in `out` or, where a file would be overwritten, in the first of its `numbered_paths` without.

    Several processes may do so at once: scores.json, which is written first, belongs to one of them.
    """
    wanted = [SCORES, *TABLES, *(f"{subject}.png" for subject in sheets)]
    for folder in numbered_paths(out):
        is_other = folder != out and os.path.lexists(folder) and not os.path.isdir(folder)
        if is_other or any(os.path.lexists(folder / name) for name in wanted):
            continue
        try:
            return write_report(folder, subjects, protocol, title, sheets, replace=False, complete=complete)
        except FileExistsError:
            continue  # another process was quicker
    raise AssertionError("there is always another number")


def scores_as_csv(subjects: Sequence[SubjectScores], method: str) -> str:
    """A line for every picture; `method`: what made them."""
    lines = [
        {**picture_fields(picture, subject.picture_measures), "method": method, "seed": picture.seed}
        for subject in subjects
        for picture in subject.pictures
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def picture_fields(picture: ScoredPicture, measures: Sequence[str]) -> dict[str, object]:
    """A picture's line in a file, its values under the names of the measures."""
    return {
        "subject": picture.subject,
        "prompt": picture.prompt,
        "file": picture.file,
        "capability": picture.capability,
        **dict(zip(measures, picture.values, strict=True)),
        "nearest_photo": picture.nearest_photo,
        "copied": picture.copied,
    }


def scores_as_json(
    subjects: Sequence[SubjectScores], rows: Sequence[Row], protocol: Protocol, *, complete: bool = True
) -> dict[str, Any]:
    """Everything; numbers that do not exist are null."""
    measures = subjects[0].measures
    published = {}
    if has_published(measures):
        published = {name: row._asdict() for name, row in PUBLISHED.items()}
    whole = {
        "complete": complete,
        "protocol": protocol.describe(),
        "scale": "raw cosine",
        "table": [{"method": row.title, **row.values} for row in rows],
        "published": published,
        "subjects": {subject.subject: subject_fields(subject) for subject in subjects},
    }
    return json_value(whole)


def subject_fields(subject: SubjectScores) -> dict[str, object]:
    """A subject's part of the JSON."""
    return {
        "measures": subject.measures,
        "whole": list(subject.whole),
        **{measure: subject.mean(measure) for measure in subject.measures},
        "real images": subject.real,
        "copies": subject.copied,
        "diversity": subject.diversity,
        "prior preservation": subject.prior,
        "pictures": [picture_fields(picture, subject.picture_measures) for picture in subject.pictures],
    }


def scores_as_markdown(subjects: Sequence[SubjectScores], rows: Sequence[Row], names: Mapping[str, str]) -> str:
    """The table, what papers report, and a line for every subject."""
    measures = subjects[0].measures
    cells = [row_cells(row.title, row.values, measures) for row in rows]
    lines = [*introduction(subjects, names), *markdown_table(["", *measures], cells), *published_rows(measures), ""]
    by_subject = []
    for subject in subjects:
        means = [number_text(subject.mean(measure)) for measure in measures]
        by_subject.append([subject.subject, *means, f"{subject.copied:.0%}", number_text(subject.diversity)])
    return "\n".join([*lines, *markdown_table(["subject", *measures, "copies suspected", "diversity"], by_subject)])


def introduction(subjects: Sequence[SubjectScores], names: Mapping[str, str]) -> list[str]:
    """How much was scored, how, and by which encoders."""
    count = sum(len(subject.pictures) for subject in subjects)
    lines = [
        f"{len(subjects)} subject(s), {count} pictures. Raw cosines; mean per prompt, then per subject, then over "
        f"subjects; brackets: 95 % interval (Student's t over subjects; from {FEWEST} subjects on).",
        f"Encoders: {', '.join(f'{kind} {name}' for kind, name in names.items())}.",
    ]
    if has_published(subjects[0].measures):
        lines.append(
            "Published rows are their authors' own, over DreamBench's 30 subjects with 25 prompts each. They compare "
            "with these rows only as far as those are over the same."
        )
    return [*lines, ""]


def row_cells(title: str, values: Mapping[str, Interval], measures: Sequence[str]) -> list[str]:
    """A row of a table; a measure that does not exist for it is a dash."""
    cells = [title]
    for measure in measures:
        if measure in values:
            cells.append(str(values[measure]))
        else:
            cells.append("–")
    return cells


def has_published(measures: Sequence[str]) -> bool:
    """Whether papers report these measures."""
    return tuple(measures[:3]) == PAPER_ENCODERS.measures


def published_rows(measures: Sequence[str]) -> list[str]:
    """What papers report, where encoders of the same names give the numbers."""
    if not has_published(measures):
        return []
    lines = []
    for name, row in PUBLISHED.items():
        cells = ["–" if value is None else f"{value:.3f}" for value in row.scores]
        cells += ["–"] * (len(measures) - len(cells))  # measures that no paper reports
        lines.append(markdown_row([f"published: {name} ({row.source})", *cells]))
    return lines
