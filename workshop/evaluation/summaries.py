"""What was measured of single pictures, summed up: by subject, by training seed, over groups of subjects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ar_core.dreambench.statistics import mean

from ..world.subjects import IN_RANGE
from .intervals import Numbers, mean_interval

MEASURES = ("identity", "place", "both", "mark", "mini-ID", "mini-CLIP-T")
GROUPS = ("in range", "out of range", "all")

Values = dict[str, float]  # by measure
BySeed = dict[int, list[Values]]  # of each picture


def summarize_pictures(by_subject: dict[str, BySeed]) -> dict[str, Any]:
    """Means of every subject, of every seed of a subject, and over each group of subjects.

    A subject's mean is over all its pictures. Over a group all subjects weigh the same, however many seeds they have;
    intervals are Student's over subjects.
    """
    subjects = {
        name: mean_values([values for pictures in by_seed.values() for values in pictures])
        for name, by_seed in by_subject.items()
    }
    seeds = {
        name: {str(seed): mean_values(pictures) for seed, pictures in by_seed.items()}
        for name, by_seed in by_subject.items()
        if len(by_seed) > 1
    }
    groups = {}
    for group in GROUPS:
        members = [subjects[name] for name in subjects_of_group(subjects, group)]
        if members:
            groups[group] = group_intervals(members)
    return {"subjects": subjects, "seeds": seeds, **groups}


def subjects_of_group(names: Iterable[str], group: str) -> list[str]:
    """Those of `names` that belong to one of the GROUPS, in their order."""
    if group == "all":
        return list(names)
    return [name for name in names if (name in IN_RANGE) == (group == "in range")]


def mean_values(pictures: Sequence[Values]) -> Values:
    """The mean of each measure, of those that were measured."""
    return {name: round(mean([values[name] for values in pictures]), 4) for name in MEASURES if name in pictures[0]}


def group_intervals(members: Sequence[Values]) -> dict[str, Numbers]:
    """Each measure's mean over the subjects that have it, with its interval."""
    found = {}
    for name in MEASURES:
        known = [values[name] for values in members if name in values]
        if known:
            found[name] = mean_interval(known)
    return found


def spread_between_seeds(seeds: dict[str, dict[str, Values]]) -> Values:
    """The standard deviation between training seeds of the mean over the subjects that have several, by measure."""
    by_seed: dict[str, list[Values]] = {}
    for of_subject in seeds.values():
        for seed, values in of_subject.items():
            by_seed.setdefault(seed, []).append(values)
    found = {}
    for name in MEASURES:
        means = [mean([values[name] for values in several if name in values]) for several in by_seed.values()]
        found[name] = standard_deviation(means)
    return found


def standard_deviation(values: Sequence[float]) -> float:
    """Of a sample, so with one less than their number below; NaN of fewer than two."""
    if len(values) < 2:
        return float("nan")
    middle = mean(values)
    return (sum((value - middle) ** 2 for value in values) / (len(values) - 1)) ** 0.5
