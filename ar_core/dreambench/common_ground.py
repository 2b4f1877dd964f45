"""What several methods have in common: differences are only fair over the same subjects and prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ..quoting import quoted
from .comparisons import Scored
from .protocol import OtherProtocol
from .scoring import ScoredPicture, SubjectScores
from .statistics import NAN

T = TypeVar("T")  # a prompt, alone or with a training seed


def on_common_ground(scored: Scored, *, by_seed: bool = False) -> tuple[dict[str, list[SubjectScores]], list[str]]:
    """`scored` without pictures of prompts that another method lacks, and a line for each method that has others.

    `by_seed`: also without those of training seeds that another method lacks, where pictures of a prompt come from
    several trainings. Methods of which only numbers are known say nothing of prompts, and are taken as they are.
    Subjects that a method lacks stay with the others: differences are paired, so they count where both have them.
    Raises OtherProtocol where two methods share a subject and none of its prompts.
    """
    known = {
        method: {subject.subject: _keys(subject, by_seed) for subject in subjects}
        for method, subjects in scored.items()
    }
    shared = shared_prompts(known)
    found = {}
    notes = []
    for method, subjects in scored.items():
        found[method] = [_with_pictures(subject, shared.get(subject.subject), by_seed) for subject in subjects]
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


Key = tuple[str, int | None]  # a prompt, and the training seed where those are told apart


def _key(picture: ScoredPicture, by_seed: bool) -> Key:
    return picture.prompt, picture.seed if by_seed else None


def _keys(subject: SubjectScores, by_seed: bool) -> set[Key]:
    return {_key(picture, by_seed) for picture in subject.pictures if picture.prompt}


def shared_prompts(known: Mapping[str, Mapping[str, set[T]]]) -> dict[str, set[T]]:
    """By subject, what every method has which knows the prompts of that subject; `known` by method and subject.

    Raises OtherProtocol where two methods share a subject and none of its prompts.
    """
    shared: dict[str, set[T]] = {}
    for method, subjects in known.items():
        for name, own in subjects.items():
            if not own:
                continue
            common = shared.get(name, own) & own
            if not common:
                raise OtherProtocol(
                    f"{method} has no prompt of {quoted(name)} in common with the methods before it (its first is "
                    f"{_example(own)}, theirs {_example(shared[name])}). Ask all for the same sentences."
                )
            shared[name] = common
    return shared


def _example(prompts: set[T]) -> str:
    first = min(prompts, key=str)
    if isinstance(first, tuple):
        first = first[0]
    return quoted(first)


def _with_pictures(subject: SubjectScores, keys: set[Key] | None, by_seed: bool) -> SubjectScores:
    """With the pictures of these prompts alone; what was measured of all pictures together is then not known."""
    if keys is None:
        return subject
    kept = tuple(picture for picture in subject.pictures if not picture.prompt or _key(picture, by_seed) in keys)
    if len(kept) == len(subject.pictures):
        return subject
    protocol = subject.protocol
    if protocol is not None:
        protocol = replace(protocol, prompts=tuple(sorted({picture.prompt for picture in kept})))
    whole = dict.fromkeys(subject.whole, NAN)
    return replace(subject, pictures=kept, whole=whole, diversity=NAN, protocol=protocol)


def _left_out(method: str, before: Sequence[SubjectScores], after: Sequence[SubjectScores]) -> list[str]:
    """A line where pictures of `method` are not compared."""
    kept = {id(picture) for subject in after for picture in subject.pictures}
    left = [picture for subject in before for picture in subject.pictures if id(picture) not in kept]
    if not left:
        return []
    example = min(left, key=lambda picture: picture.prompt)
    return [
        f"{len(left)} picture(s) of {method} are not compared: another method lacks their prompt or seed, such as "
        f"{quoted(example.prompt)} of {example.subject}."
    ]
