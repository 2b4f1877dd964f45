"""What is said of few subjects: intervals, tests and their correction, by hand and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ar_core.dreambench.statistics import (
    FEWEST,
    NAN,
    Difference,
    Interval,
    holm,
    mean_difference,
    mean_interval,
    p_text,
)


def test_an_interval_is_students():
    # mean 2, standard deviation 0.8944, t of five degrees of freedom 2.5706
    assert mean_interval([1, 2, 3, 1, 2, 3]) == pytest.approx((2, 1.0613, 2.9387), abs=1e-4)
    assert mean_interval([1, 2, 3, 1, 2, 3, NAN]) == mean_interval([1, 2, 3, 1, 2, 3])


@pytest.mark.parametrize("count", range(1, FEWEST))
def test_few_subjects_have_a_mean_and_neither_interval_nor_test(count):
    interval = mean_interval([0.5] * count)
    assert interval.mean == 0.5 and math.isnan(interval.low) and str(interval) == "0.500 (–)"
    difference = mean_difference([0.5] * count)
    assert math.isnan(difference.p) and str(difference) == "+0.500 (–)" and p_text(difference.p) == ""


def test_nothing_is_a_dash():
    assert str(mean_interval([])) == str(mean_interval([NAN])) == str(mean_difference([])) == "–"


def test_a_paired_test_by_hand():
    found = mean_difference([0.1, 0.2, 0.3, 0.2, 0.1])  # mean 0.18, error 0.0374: t = 4.81
    assert found == pytest.approx((0.18, 0.0761, 0.2839, 0.00859), abs=1e-4)
    assert str(found) == "+0.180 (+0.076 to +0.284)"
    assert mean_difference([0.0] * 5).p == 1 and mean_difference([0.1] * 5).p == 0
    assert str(Difference(-0.1, -0.2, -0.05, 0.01)) == "-0.100 (-0.200 to -0.050)"
    assert str(Interval(-0.01, -0.2, 0.1)) == "-0.010 (-0.200 to 0.100)"


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []
    corrected = holm([0.02, NAN])
    assert corrected[0] == 0.02 and math.isnan(corrected[1])  # what was not tested costs the others nothing


@pytest.mark.parametrize("count", [5, 8, 24])
def test_an_effect_that_is_not_there_is_found_in_one_of_twenty(count):
    """The share of wrong findings, with normal differences. A percentile bootstrap finds 15 % at five subjects."""
    rng = np.random.default_rng(count)
    found = [mean_difference(rng.normal(size=count).tolist()).p < 0.05 for _ in range(3000)]
    assert 0.038 < np.mean(found) < 0.062  # three standard errors of 3,000 trials


def test_on_a_page_of_twenty_comparisons_chance_finds_something_in_one_of_twenty():
    rng = np.random.default_rng(0)
    pages = 800
    corrected = [
        min(holm([mean_difference(rng.normal(size=8).tolist()).p for _ in range(20)])) < 0.05 for _ in range(pages)
    ]
    assert np.mean(corrected) < 0.075  # without the correction 0.64
