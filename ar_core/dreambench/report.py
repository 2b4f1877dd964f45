"""Scores as files: JSON and CSV for programs, Markdown for people, and one picture that an eye can judge."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image, ImageDraw

from ..sheets import GAP, INK, enlarged, font
from .published import PUBLISHED
from .scoring import MEASURES, Row, ScoredPicture, SubjectScores, table

CELL, REFERENCES, SHOWN = 192, 4, 6
BEST, WORST = (46, 160, 67), (207, 34, 46)


def write_report(
    out: Path, subjects: Sequence[SubjectScores], names: dict[str, str], method: str, sheets: dict[str, Image.Image]
) -> list[Path]:
    """scores.json, scores.csv, scores.md and one sheet per subject in `out`; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    rows = table(subjects, method)
    texts = {
        "scores.json": json.dumps(as_json(subjects, rows, names), indent=1, ensure_ascii=False),
        "scores.md": as_markdown(subjects, rows, names),
    }
    paths = []
    for name, text in texts.items():
        partial = out / f"{name}.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        paths.append(partial.replace(out / name))
    with (out / "scores.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*ScoredPicture.__dataclass_fields__])
        writer.writeheader()
        writer.writerows(asdict(picture) for subject in subjects for picture in subject.pictures)
    for name, sheet in sheets.items():
        sheet.save(out / f"{name}.png")
    return [*paths, out / "scores.csv", *(out / f"{name}.png" for name in sheets)]


def as_json(subjects: Sequence[SubjectScores], rows: Sequence[Row], names: dict[str, str]) -> dict:
    """Everything; numbers that do not exist are null."""
    whole = {
        "encoders": names, "scale": "raw cosine",
        "table": [{"method": row.method, **{m: [_number(v) for v in values] for m, values in row.values.items()}} for row in rows],
        "published": PUBLISHED,
        "subjects": {
            subject.subject: {
                **{measure: _number(subject.mean(measure)) for measure in MEASURES}, "real images": subject.real,
                "copies": subject.copied, "diversity": _number(subject.diversity), "prior preservation": _number(subject.prior),
                "pictures": [asdict(picture) for picture in subject.pictures],
            }
            for subject in subjects
        },
    }  # fmt: skip
    return json.loads(json.dumps(whole).replace("NaN", "null"))


def as_markdown(subjects: Sequence[SubjectScores], rows: Sequence[Row], names: dict[str, str]) -> str:
    count = sum(len(subject.pictures) for subject in subjects)
    lines = [
        f"{len(subjects)} subject(s), {count} pictures. Raw cosines; mean per subject, then over subjects; brackets: 95 % bootstrap over subjects.",
        f"Encoders: {', '.join(f'{kind} {name}' for kind, name in names.items())}.", "",
        f"| | {' | '.join(MEASURES)} |", "|---" * (len(MEASURES) + 1) + "|",
    ]  # fmt: skip
    lines += [f"| {row.method} | {' | '.join(_cell(row.values.get(m)) for m in MEASURES)} |" for row in rows]
    lines += [
        f"| published: {name} | {' | '.join('–' if v is None else f'{v:.3f}' for v in values)} |" for name, values in PUBLISHED.items()
    ]
    lines += ["", "| subject | DINO | CLIP-I | CLIP-T | copies suspected | diversity |", "|---|---|---|---|---|---|"]
    for subject in subjects:
        cells = [*(f"{subject.mean(m):.3f}" for m in MEASURES), f"{subject.copied:.0%}", _cell((subject.diversity,) * 3, False)]
        lines.append(f"| {subject.subject} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sheet(subject: SubjectScores, photos: Sequence[Image.Image], open_picture: Callable[[ScoredPicture], Image.Image]) -> Image.Image:
    """References in the first row; below, pictures by prompt with their scores, the best framed green and the worst red (DINO + CLIP-T)."""
    ranked = sorted(subject.pictures, key=lambda picture: picture.dino + picture.clip_t)
    shown = list(subject.pictures)
    best, worst = ranked[-1], ranked[0]
    across = max(REFERENCES, min(SHOWN, len(shown)))
    text = 64
    rows = [shown[i : i + across] for i in range(0, len(shown), across)]
    height = 40 + CELL + GAP + len(rows) * (CELL + text + GAP)
    canvas = Image.new("RGB", (across * (CELL + GAP) + GAP, height), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, GAP), f"{subject.subject}: photos, then pictures with DINO | CLIP-I | CLIP-T", INK, font(18))
    for column, photo in enumerate(photos[:across]):
        canvas.paste(enlarged(photo, CELL), (GAP + column * (CELL + GAP), 40))
    for row, pictures in enumerate(rows):
        y = 40 + CELL + GAP + row * (CELL + text + GAP)
        for column, picture in enumerate(pictures):
            x = GAP + column * (CELL + GAP)
            canvas.paste(enlarged(open_picture(picture), CELL), (x, y))
            if picture in (best, worst) and best is not worst:
                pen.rectangle((x - 3, y - 3, x + CELL + 2, y + CELL + 2), outline=BEST if picture is best else WORST, width=4)
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
