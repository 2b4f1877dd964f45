"""Scores over subjects: the rows of a table, each a mean with its interval for every measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .scoring import SubjectScores
from .statistics import NAN, Interval, mean_interval

REAL = "real images (different photos of a subject)"


@dataclass(frozen=True)
class Row:
    """One line of a table: what was scored, with an interval per measure."""

    title: str
    values: dict[str, Interval]


def score_table(subjects: Sequence[SubjectScores], title: str = "these pictures") -> list[Row]:
    """The real-images bound, the pictures, and the pictures of each kind of prompt."""
    rows = [Row(REAL, real_images_over_subjects(subjects)), Row(title, scores_over_subjects(subjects))]
    kinds = sorted({picture.capability for subject in subjects for picture in subject.pictures} - {""})
    if len(kinds) > 1:
        rows += [Row(f"{title}: {kind}", scores_over_subjects(subjects, kind)) for kind in kinds]
    return rows


def real_images_over_subjects(subjects: Sequence[SubjectScores]) -> dict[str, Interval]:
    """What photos of a subject reach among themselves, over subjects."""
    return {
        measure: mean_interval([subject.real.get(measure, NAN) for subject in subjects]) for measure in subjects[0].real
    }


def scores_over_subjects(subjects: Sequence[SubjectScores], kind: str = "") -> dict[str, Interval]:
    """Every measure: per subject first, then over subjects; of one kind of prompt where given."""
    measures = subjects[0].measures
    return {measure: mean_interval([subject.mean(measure, kind) for subject in subjects]) for measure in measures}
