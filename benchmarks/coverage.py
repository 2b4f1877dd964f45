"""How often an interval misses the truth, by simulation: for docs/scores.md.

For a kind of differences between two methods that has no effect, many sets of few subjects are drawn, and it is counted
how often their interval leaves the truth out. A 95 % interval should in 5 %.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from ar_core.dreambench.statistics import FEWEST, mean_interval

SUBJECTS = (FEWEST, 8, 10, 24, 30)
TRIALS = 4000
DRAWS = 1000  # of a bootstrap
AT_ONCE = 500  # trials, for the memory that resampling takes


class Kind(NamedTuple):
    """A distribution of differences. `draw`: values of a shape; `mean`: the truth."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
    mean: float


KINDS = (
    Kind("normal", lambda rng, shape: rng.normal(size=shape), 0.0),
    Kind("heavy tails (t, 3 degrees)", lambda rng, shape: rng.standard_t(3, size=shape), 0.0),
    Kind("skewed (exponential)", lambda rng, shape: rng.exponential(size=shape), 1.0),
    Kind(
        "one subject of five differs by much",
        lambda rng, shape: rng.normal(0, 0.3, shape) + (rng.random(shape) < 0.2),
        0.2,
    ),
)


def student(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ends for each row of `values` (trials, subjects): those of every report."""
    intervals = np.array([mean_interval(row.tolist()) for row in values])  # (trials, 3)
    return intervals[:, 1], intervals[:, 2]


def percentile_bootstrap(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `student`."""
    return _bootstrap(values, "percentile")


def bca_bootstrap(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `student`: bias-corrected and accelerated (Efron 1987)."""
    return _bootstrap(values, "BCa")


def _bootstrap(values: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows whose values are all the same
        found = stats.bootstrap(
            (values,), np.mean, axis=1, n_resamples=DRAWS, method=method, vectorized=True, random_state=0
        )
    return found.confidence_interval.low, found.confidence_interval.high


METHODS = {"Student's t": student, "BCa bootstrap": bca_bootstrap, "percentile bootstrap": percentile_bootstrap}


def missed(kind: Kind, count: int, interval: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> float:
    """The share of TRIALS sets of `count` subjects whose interval leaves the truth out."""
    rng = np.random.default_rng(count)
    misses = 0
    for _ in range(TRIALS // AT_ONCE):
        low, high = interval(kind.draw(rng, (AT_ONCE, count)))
        misses += int(np.sum((low > kind.mean) | (high < kind.mean)))
    return misses / TRIALS


def coverage_rows() -> list[list[str]]:
    """Kind, method, and the share for each number of subjects."""
    rows = []
    for kind in KINDS:
        for name, interval in METHODS.items():
            rows.append([kind.name, name, *(f"{missed(kind, count, interval):.1%}" for count in SUBJECTS)])
    return rows
