"""Means over subjects: their intervals, tests of differences, and how they are written.

A data set has few subjects, and what is said holds for more of their kind, so subjects are what is counted: pictures
and training seeds of one are averaged first. Student's t keeps its word from five subjects on, where resampling them
finds twice as many effects as it may (docs/scores.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

NAN = float("nan")
LEVEL = 0.05  # of a test; intervals hold the rest
FEWEST = 5  # subjects of which an interval or a test is shown


class Interval(NamedTuple):
    """A mean and its 95 % interval. NaN where there was nothing to average; the ends also below FEWEST values."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        if math.isnan(self.low):
            return f"{self.mean:.3f} (–)"
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


class Difference(NamedTuple):
    """A mean of paired differences, its 95 % interval, and `p`: how often chance alone makes it as large."""

    mean: float
    low: float
    high: float
    p: float  # NaN below FEWEST pairs

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        if math.isnan(self.low):
            return f"{self.mean:+.3f} (–)"
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of independent values, one per subject, with Student's interval; NaN values are left out."""
    known = _known(values)
    if not len(known):
        return Interval(NAN, NAN, NAN)
    mean = float(known.mean())
    if len(known) < FEWEST:
        return Interval(mean, NAN, NAN)
    half = float(special.stdtrit(len(known) - 1, 1 - LEVEL / 2)) * _standard_error(known)
    return Interval(mean, mean - half, mean + half)


def mean_difference(differences: Sequence[float]) -> Difference:
    """One difference per subject: Student's paired test of their mean, two-sided; NaN values are left out."""
    known = _known(differences)
    interval = mean_interval(known.tolist())
    if len(known) < FEWEST:
        return Difference(*interval, NAN)
    return Difference(*interval, _two_sided(interval.mean, _standard_error(known), len(known) - 1))


def _known(values: Sequence[float]) -> np.ndarray:
    return np.array([value for value in values if not math.isnan(value)], dtype=float)


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _two_sided(mean: float, error: float, freedom: int) -> float:
    """Student's p; certain where all differences are the same."""
    if error == 0:
        return float(mean == 0)
    return 2 * float(special.stdtr(freedom, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for all of them (Holm 1979): that one of them is below 0.05 by chance happens in 5 %.

    NaN stays NaN and counts for nothing.
    """
    corrected = [NAN] * len(p_values)
    tested = sorted((p, number) for number, p in enumerate(p_values) if not math.isnan(p))
    highest = 0.0
    for rank, (p, number) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        corrected[number] = highest
    return corrected


def mean(values: Sequence[float]) -> float:
    """NaN where there are none."""
    if not values:
        return NAN
    return sum(values) / len(values)


def number_text(value: float) -> str:
    """Three digits, or a dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:.3f}"


def p_text(p: float) -> str:
    """ "p 0.012", "p < 0.001", or "" for NaN."""
    if math.isnan(p):
        return ""
    if p < 0.001:
        return "p < 0.001"
    return f"p {p:.3f}"
