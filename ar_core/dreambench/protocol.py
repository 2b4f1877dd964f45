"""Whether two tables may be compared: a name for everything that decides a number, pictures aside.

That is who looked (the encoders by their weights, what their layers compute, their tokenizer) and how (their input),
what each subject's pictures were compared with (its photos by their pixels, and the other subjects where a measure
looks at them), and what they were asked to show (its prompts).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from ..files import json_hash, json_value
from ..quoting import quoted

DIGITS = 12  # of an id: hexadecimal

Instruments = Mapping[str, Mapping[str, Any]]  # by the measures that they give, what decides their numbers


class OtherProtocol(ValueError):
    """Two tables that were measured differently; the message says in what."""


@dataclass(frozen=True)
class SubjectProtocol:
    """What one subject's pictures were compared with, as hashes, and what they were asked to show."""

    photos: str
    prompts: tuple[str, ...]  # sorted, each once

    @classmethod
    def of(cls, photos: Sequence[Image.Image], prompts: Sequence[str]) -> SubjectProtocol:
        """By the pixels of its photos, in any order."""
        return cls(json_hash(sorted(map(_pixels_hash, photos)))[:DIGITS], tuple(sorted(set(prompts))))


@dataclass(frozen=True)
class Protocol:
    """How a table was measured. `names`: of the encoders, for people. `gallery`: subjects looked at beside."""

    names: Mapping[str, str]
    instruments: Instruments
    subjects: Mapping[str, SubjectProtocol]
    gallery: tuple[str, ...] = ()

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Protocol:
        """From what `describe` wrote. Raises KeyError, TypeError or AttributeError where it is none."""
        subjects = {
            name: SubjectProtocol(str(value["photos"]), tuple(value["prompts"]))
            for name, value in fields["subjects"].items()
        }
        return cls(dict(fields["encoders"]), dict(fields["instruments"]), subjects, tuple(fields["gallery"]))

    @property
    def id(self) -> str:
        """Equal for tables that may stand side by side, whatever folders the encoders lay in."""
        return json_hash(self._deciding())[:DIGITS]

    def describe(self) -> dict[str, Any]:
        """As JSON, with its id."""
        return {"id": self.id, "encoders": dict(self.names), **self._deciding()}

    def _deciding(self) -> dict[str, Any]:
        return json_value(
            {
                "instruments": self.instruments,
                "subjects": {name: asdict(self.subjects[name]) for name in sorted(self.subjects)},
                "gallery": sorted(self.gallery),
            }
        )

    def check_comparable(self, other: Protocol, mine: str, theirs: str) -> None:
        """Raise OtherProtocol where an encoder, or the photos of a subject, that both have are not the same.

        `mine`, `theirs`: what the two tables are called. Prompts may differ: only those that both have are compared.
        """
        shared = set(self.instruments) & set(other.instruments)
        for title in sorted(shared):
            if json_value(self.instruments[title]) != json_value(other.instruments[title]):
                raise OtherProtocol(
                    f"{title} of {theirs} is by {other.names.get(title)}, and of {mine} by {self.names.get(title)}, or "
                    "with other input: such numbers cannot be compared. Score both with the same encoders."
                )
        if not shared:
            raise OtherProtocol(
                f"{theirs} has {', '.join(other.names)}, and {mine} {', '.join(self.names)}: nothing can be compared."
            )
        if self.gallery and other.gallery and set(self.gallery) != set(other.gallery):
            raise OtherProtocol(f"The gallery of {theirs} has other subjects than that of {mine}: score both anew.")
        for name in sorted(set(self.subjects) & set(other.subjects)):
            if self.subjects[name].photos != other.subjects[name].photos:
                raise OtherProtocol(
                    f"{theirs} compares {quoted(name)} with other photos than {mine} does. Use the same copy of the "
                    "data set for both."
                )


def _pixels_hash(image: Image.Image) -> str:
    image = image.convert("RGB")
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
