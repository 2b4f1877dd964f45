"""What several methods have in common: differences are only fair over the same subjects and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..quoting import quoted
from .comparisons import Scored
from .protocol import OtherProtocol
from .scoring import SubjectScores


def on_common_ground(scored: Scored) -> tuple[dict[str, list[SubjectScores]], list[str]]:
    """`scored` without pictures of prompts that another method lacks, and a line for each method that has others.

    Methods of which only numbers are known say nothing of prompts, and are taken as they are. Subjects that a method
    lacks stay with the others: differences are paired, so they count where both have them. Raises OtherProtocol where
    two methods share a subject and none of its prompts.
    """
    shared = _shared_prompts(scored)
    found = {}
    notes = []
    for method, subjects in scored.items():
        found[method] = [_with_prompts(subject, shared.get(subject.subject)) for subject in subjects]
        notes += _left_out(method, subjects, found[method])
    return found, notes


def missing_subjects(scored: Scored) -> list[str]:
    """A line for each method that lacks subjects which another has."""
    everybody = dict.fromkeys(subject.subject for subjects in scored.values() for subject in subjects)
    lines = []
    for method, subjects in scored.items():
        lacking = set(everybody) - {subject.subject for subject in subjects}
        if lacking:
            lines.append(f"{method} lacks {', '.join(sorted(lacking))}: compared over the other subjects.")
    return lines


def _shared_prompts(scored: Scored) -> dict[str, set[str]]:
    """By subject, the prompts that every method has which knows the prompts of that subject."""
    shared: dict[str, set[str]] = {}
    for method, subjects in scored.items():
        for subject in subjects:
            known = _prompts(subject)
            if not known:
                continue
            name = subject.subject
            common = shared.get(name, known) & known
            if not common:
                raise OtherProtocol(
                    f"{method} has no prompt of {quoted(name)} in common with the methods before it (its first is "
                    f"{quoted(min(known))}, theirs {quoted(min(shared[name]))}). Ask all for the same sentences."
                )
            shared[name] = common
    return shared


def _prompts(subject: SubjectScores) -> set[str]:
    return {picture.prompt for picture in subject.pictures} - {""}


def _with_prompts(subject: SubjectScores, prompts: set[str] | None) -> SubjectScores:
    if prompts is None:
        return subject
    kept = tuple(picture for picture in subject.pictures if picture.prompt in prompts or not picture.prompt)
    return replace(subject, pictures=kept)


def _left_out(method: str, before: Sequence[SubjectScores], after: Sequence[SubjectScores]) -> list[str]:
    """A line where pictures of `method` are not compared."""
    count = sum(len(subject.pictures) for subject in before) - sum(len(subject.pictures) for subject in after)
    if not count:
        return []
    examples = [prompt for one, other in zip(before, after, strict=True) for prompt in _prompts(one) - _prompts(other)]
    return [
        f"{count} picture(s) of {method} are not compared: another method has none of their prompts, such as "
        f"{quoted(min(examples))}."
    ]
