"""Means over subjects with their intervals, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NAN = float("nan")
DRAWS = 10_000


class Interval(NamedTuple):
    """A mean and its 95 % interval; all NaN where there was nothing to average."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        return f"{self.mean:.3f} ({self.low:.3f}–{self.high:.3f})"


def bootstrap(values: Sequence[float], draws: int = DRAWS, seed: int = 0) -> Interval:
    """The interval of the mean over subjects, by resampling subjects; NaN values are left out."""
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return Interval(NAN, NAN, NAN)
    resampled = np.random.default_rng(seed).integers(0, len(known), (draws, len(known)))
    means = known[resampled].mean(1)
    return Interval(float(known.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975)))


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
