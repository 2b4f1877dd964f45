"""Scores as files: JSON and CSV for programs, Markdown for people, and one picture that an eye can judge."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..files import json_value, write_image, write_json, write_text
from ..sheets import GAP, INK, enlarged, font
from .encoders import PAPER
from .published import PUBLISHED
from .scoring import REAL, Row, ScoredPicture, SubjectScores, difference, over, table

CELL, REFERENCES, SHOWN = 192, 4, 6
BEST, WORST = (46, 160, 67), (207, 34, 46)


def write_report(
    out: Path, subjects: Sequence[SubjectScores], names: dict[str, str], method: str, sheets: dict[str, Image.Image]
) -> list[Path]:
    """scores.json, scores.csv, scores.md and one sheet per subject in `out`; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    rows = table(subjects, method)
    paths = [
        write_json(out / "scores.json", as_json(subjects, rows, names)),
        write_text(out / "scores.md", as_markdown(subjects, rows, names)),
    ]
    lines = [flat(picture, subject.measures) for subject in subjects for picture in subject.pictures]
    table_text = io.StringIO()
    writer = csv.DictWriter(table_text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    paths.append(write_text(out / "scores.csv", table_text.getvalue()))
    for name, sheet in sheets.items():
        paths.append(write_image(out / f"{name}.png", sheet))
    return paths


def write_comparison(out: Path, ways: Mapping[str, Sequence[SubjectScores]], names: dict[str, str]) -> list[Path]:
    """comparison.json and comparison.md in `out`: every way in one table, and its difference to the first."""
    first, *others = ways
    found = {
        "encoders": names,
        "scale": "raw cosine",
        "real images": table(ways[first])[0].values,
        "ways": {way: over(scored) for way, scored in ways.items()},
        f"{first} minus": {way: difference(ways[first], ways[way]) for way in others},
    }
    out.mkdir(parents=True, exist_ok=True)
    return [
        write_json(out / "comparison.json", found),
        write_text(out / "comparison.md", comparison(ways, names)),
    ]


def comparison(ways: Mapping[str, Sequence[SubjectScores]], names: dict[str, str]) -> str:
    """All ways in one Markdown table, then the differences of the first to the others, paired by subject."""
    first, *others = ways
    measures = ways[first][0].measures
    lines = [*_said(ways[first], names), *_head("", measures), _line(REAL, table(ways[first])[0].values, measures)]
    lines += [_line(way, over(scored), measures) for way, scored in ways.items()]
    lines += _published(measures)
    if others:
        lines += ["", *_head(f"{first} minus …", measures)]
        lines += [_line(way, difference(ways[first], ways[way]), measures) for way in others]
    return "\n".join(lines)


def flat(picture: ScoredPicture, measures: Sequence[str]) -> dict[str, object]:
    """A picture's line in a table, its values under the names of the measures."""
    return {
        "subject": picture.subject,
        "prompt": picture.prompt,
        "file": picture.file,
        "capability": picture.capability,
        **dict(zip(measures, picture.values)),
        "nearest_photo": picture.nearest_photo,
        "copied": picture.copied,
    }


def as_json(subjects: Sequence[SubjectScores], rows: Sequence[Row], names: dict[str, str]) -> dict:
    """Everything; numbers that do not exist are null."""
    measures = subjects[0].measures
    whole = {
        "encoders": names,
        "scale": "raw cosine",
        "table": [
            {"method": row.method, **{m: [_number(v) for v in values] for m, values in row.values.items()}}
            for row in rows
        ],
        "published": PUBLISHED if measures == PAPER.measures else {},
        "subjects": {
            subject.subject: {
                **{measure: _number(subject.mean(measure)) for measure in measures},
                "real images": subject.real,
                "copies": subject.copied,
                "diversity": _number(subject.diversity),
                "prior preservation": _number(subject.prior),
                "pictures": [flat(picture, measures) for picture in subject.pictures],
            }
            for subject in subjects
        },
    }
    return json_value(whole)


def as_markdown(subjects: Sequence[SubjectScores], rows: Sequence[Row], names: dict[str, str]) -> str:
    measures = subjects[0].measures
    lines = [
        *_said(subjects, names),
        *_head("", measures),
        *(_line(row.method, row.values, measures) for row in rows),
        *_published(measures),
    ]
    lines += ["", *_head("subject", (*measures, "copies suspected", "diversity"))]
    for subject in subjects:
        cells = [
            *(f"{subject.mean(m):.3f}" for m in measures),
            f"{subject.copied:.0%}",
            _cell((subject.diversity,) * 3, False),
        ]
        lines.append(f"| {subject.subject} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _said(subjects: Sequence[SubjectScores], names: dict[str, str]) -> list[str]:
    count = sum(len(subject.pictures) for subject in subjects)
    return [
        f"{len(subjects)} subject(s), {count} pictures. Raw cosines; mean per subject, then over subjects; brackets: 95 % bootstrap over subjects.",
        f"Encoders: {', '.join(f'{kind} {name}' for kind, name in names.items())}.",
        "",
    ]


def _head(corner: str, columns: Sequence[str]) -> list[str]:
    return [f"| {corner} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]


def _line(name: str, values: Mapping[str, tuple[float, float, float]], measures: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(_cell(values.get(m)) for m in measures)} |"


def _published(measures: Sequence[str]) -> list[str]:
    """What papers report, where the same encoders give the numbers."""
    if tuple(measures) != PAPER.measures:
        return []
    rows = ((name, ["–" if v is None else f"{v:.3f}" for v in values]) for name, values in PUBLISHED.items())
    return [f"| published: {name} | {' | '.join(cells)} |" for name, cells in rows]


def sheet(
    subject: SubjectScores, photos: Sequence[Image.Image], open_picture: Callable[[ScoredPicture], Image.Image]
) -> Image.Image:
    """References in the first row; below, pictures by prompt with their scores, the best framed green and the worst red (first + last measure)."""
    ranked = sorted(subject.pictures, key=lambda picture: picture.values[0] + picture.values[2])
    shown = list(subject.pictures)
    best, worst = ranked[-1], ranked[0]
    across = max(REFERENCES, min(SHOWN, len(shown)))
    text = 64
    rows = [shown[i : i + across] for i in range(0, len(shown), across)]
    height = 40 + CELL + GAP + len(rows) * (CELL + text + GAP)
    canvas = Image.new("RGB", (across * (CELL + GAP) + GAP, height), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, GAP), f"{subject.subject}: photos, then pictures with {' | '.join(subject.measures)}", INK, font(18))
    for column, photo in enumerate(photos[:across]):
        canvas.paste(enlarged(photo, CELL), (GAP + column * (CELL + GAP), 40))
    for row, pictures in enumerate(rows):
        y = 40 + CELL + GAP + row * (CELL + text + GAP)
        for column, picture in enumerate(pictures):
            x = GAP + column * (CELL + GAP)
            canvas.paste(enlarged(open_picture(picture), CELL), (x, y))
            if picture in (best, worst) and best is not worst:
                pen.rectangle(
                    (x - 3, y - 3, x + CELL + 2, y + CELL + 2), outline=BEST if picture is best else WORST, width=4
                )
            numbers = " | ".join(f"{value:.2f}" for value in picture.values) + ("  copy?" if picture.copied else "")
            pen.text((x, y + CELL + 2), numbers, INK, font(14))
            for line, words in enumerate(_lines(picture.prompt, 28)[:2]):
                pen.text((x, y + CELL + 20 + 18 * line), words, INK, font(13))
    return canvas


def _lines(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _cell(values: tuple[float, float, float] | None, interval: bool = True) -> str:
    if values is None or values[0] != values[0]:
        return "–"
    return f"{values[0]:.3f} ({values[1]:.3f}–{values[2]:.3f})" if interval else f"{values[0]:.3f}"


def _number(value: float) -> float | None:
    return None if value != value else value
