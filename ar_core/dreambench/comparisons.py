"""Methods held against each other: differences paired by subject, and what of them may be believed.

A page with twenty comparisons finds one where there is none. So the comparison that the page is about is named before
anything is scored and tested by itself; all others share one error rate by Holm's correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .scoring import SubjectScores
from .statistics import LEVEL, NAN, Difference, holm, mean_difference, p_text

Scored = Mapping[str, Sequence[SubjectScores]]  # by method


@dataclass(frozen=True)
class Comparison:
    """What `more` has over `less` in one measure."""

    more: str
    less: str
    measure: str

    def __str__(self) -> str:
        return f"{self.more} − {self.less}, {self.measure}"

    @property
    def reversed(self) -> Comparison:
        """The same question with the other sign."""
        return Comparison(self.less, self.more, self.measure)


@dataclass(frozen=True)
class Finding:
    """A comparison's difference. `corrected`: its p after Holm, or as it is for the one that was named in advance."""

    comparison: Comparison
    difference: Difference
    corrected: float
    primary: bool
    subjects: int

    @property
    def separable(self) -> bool:
        """Whether chance alone makes such a difference in fewer than one of twenty pages."""
        return self.corrected < LEVEL  # never of NaN

    def __str__(self) -> str:
        """ "+0.114 (+0.044 to +0.184), p 0.012", bold where it is separable."""
        text = str(self.difference)
        if not math.isnan(self.corrected):
            text = f"{text}, {p_text(self.corrected)}"
        if self.separable:
            return f"**{text}**"
        return text


Findings = dict[Comparison, Finding]


def compare(scored: Scored, comparisons: Sequence[Comparison], primary: Comparison | None) -> Findings:
    """Every comparison's finding, in their order; of two that ask the same with other signs each has its own.

    `primary`: the one that was named in advance, if any; it is tested by itself, the others are corrected together.
    """
    asked = list(dict.fromkeys(comparisons))
    differences = {comparison: difference_of(scored, comparison) for comparison in asked}
    others: list[Comparison] = []  # each question once
    for comparison in asked:
        if not {comparison, comparison.reversed} & {primary, *others}:
            others.append(comparison)
    corrected = dict(zip(others, holm([differences[one].p for one in others]), strict=True))
    found = {}
    for comparison, difference in differences.items():
        is_primary = primary is not None and primary in (comparison, comparison.reversed)
        if is_primary:
            p = difference.p
        elif comparison in corrected:
            p = corrected[comparison]
        else:
            p = corrected[comparison.reversed]
        found[comparison] = Finding(comparison, difference, p, is_primary, len(_known_differences(scored, comparison)))
    return found


def against_first(scored: Scored) -> list[Comparison]:
    """The first method against every other, in every measure."""
    first, *others = scored
    measures = scored[first][0].measures
    return [Comparison(first, other, measure) for other in others for measure in measures]


def named_in_advance(methods: Sequence[str], measures: Sequence[str], against: str | None = None) -> Comparison | None:
    """The comparison that a table is about: its first method against `against`, by default the second, in likeness.

    None of a single method. Likeness is the first measure.
    """
    if len(methods) < 2:
        return None
    return Comparison(methods[0], against or methods[1], measures[0])


def difference_of(scored: Scored, comparison: Comparison) -> Difference:
    """Over the subjects that both methods have."""
    return mean_difference(_known_differences(scored, comparison))


def _known_differences(scored: Scored, comparison: Comparison) -> list[float]:
    """By subject, of those for which both methods have a number."""
    others = {subject.subject: subject.mean(comparison.measure) for subject in scored[comparison.less]}
    found = []
    for one in scored[comparison.more]:
        found.append(one.mean(comparison.measure) - others.get(one.subject, NAN))
    return [difference for difference in found if not math.isnan(difference)]
