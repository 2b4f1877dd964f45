"""Whether two tables may be compared: a name for everything that decides a number, pictures aside.

That is who looked (both encoders by the hash of their weights), how (the preprocessing), what each subject's pictures
were compared with (its photos by their pixels), and what they were asked to show (its prompts).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from ..files import json_hash, json_value
from ..quoting import quoted
from .encoders import EncoderChoice

DIGITS = 12  # of an id: hexadecimal


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
    """How a table was measured. `encoders`: their names, which hold hashes; `inputs`: their preprocessing."""

    encoders: Mapping[str, str]
    inputs: Mapping[str, Any]
    subjects: Mapping[str, SubjectProtocol]

    @classmethod
    def of(cls, choice: EncoderChoice, names: Mapping[str, str], subjects: Mapping[str, SubjectProtocol]) -> Protocol:
        """`names`: of the encoders that were loaded."""
        inputs = {"vit": json_value(asdict(choice.vit_input)), "clip": json_value(asdict(choice.clip_input))}
        return cls(dict(names), inputs, dict(subjects))

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Protocol:
        """From what `describe` wrote. Raises KeyError, TypeError or AttributeError where it is none."""
        subjects = {
            name: SubjectProtocol(str(value["photos"]), tuple(value["prompts"]))
            for name, value in fields["subjects"].items()
        }
        return cls(dict(fields["encoders"]), dict(fields["inputs"]), subjects)

    @property
    def id(self) -> str:
        """Equal for tables that may stand side by side."""
        return json_hash(self._fields())[:DIGITS]

    def describe(self) -> dict[str, Any]:
        """As JSON, with its id."""
        return {"id": self.id, **self._fields()}

    def _fields(self) -> dict[str, Any]:
        return json_value(
            {
                "encoders": self.encoders,
                "inputs": self.inputs,
                "subjects": {name: asdict(self.subjects[name]) for name in sorted(self.subjects)},
            }
        )

    def check_comparable(self, other: Protocol, mine: str, theirs: str) -> None:
        """Raise OtherProtocol where the encoders, or the photos of a subject that both have, are not the same.

        `mine`, `theirs`: what the two tables are called. Prompts may differ: only those that both have are compared.
        """
        ours = weights_of(self.encoders)
        if ours != weights_of(other.encoders):
            raise OtherProtocol(
                f"{theirs} was scored by {_listed(other.encoders)}, and {mine} by {_listed(self.encoders)}: such "
                "numbers cannot be compared. Score both pictures with the same encoders."
            )
        if dict(self.inputs) != dict(other.inputs):
            raise OtherProtocol(f"{theirs} was scored with other preprocessing than {mine}: score its pictures again.")
        for name in sorted(set(self.subjects) & set(other.subjects)):
            if self.subjects[name].photos != other.subjects[name].photos:
                raise OtherProtocol(
                    f"{theirs} compares {quoted(name)} with other photos than {mine} does. Use the same copy of the "
                    "data set for both."
                )


def weights_of(names: Mapping[str, str]) -> dict[str, str]:
    """The encoders' names from the hash of their weights on: a folder's name decides no number."""
    return {measures: name.rpartition(WEIGHTS)[2] for measures, name in names.items()}


WEIGHTS = "weights "  # stands before the hash in an encoder's name


def _listed(names: Mapping[str, str]) -> str:
    return ", ".join(names.values())


def _pixels_hash(image: Image.Image) -> str:
    image = image.convert("RGB")
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
