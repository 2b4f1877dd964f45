"""The DreamBench data set as the google/dreambooth repository lays it out: one folder of photos per subject, one list of prompts.

    dataset/
        prompts_and_classes.txt
        backpack/00.jpg ...  dog/00.jpg ...

Prompts and photos are read from the user's copy; this project contains neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..photos import PhotoError, read_photos

PROMPT_FILE = "prompts_and_classes.txt"
LIVE_CLASSES = ("cat", "dog")
SLOTS = "{0} {1}"  # identifier and class, as the file writes them
PLACE, ACCESSORY, PROPERTY = "re-contextualization", "accessorization", "property modification"


class DataSetError(ValueError):
    """A data set that cannot be used; the message names every problem at once."""


@dataclass(frozen=True)
class BenchPrompt:
    """A sentence with a slot for identifier and class."""

    template: str

    def personal(self, class_name: str, identifier: str = "[V]") -> str:
        """What is sampled: "a [V] dog in the jungle"."""
        return self.template.replace(SLOTS, f"{identifier} {class_name}")

    def plain(self, class_name: str) -> str:
        """What CLIP-T compares with: "a dog in the jungle"."""
        return self.template.replace(SLOTS, class_name)

    @property
    def capability(self) -> str:
        """DreamBooth's three kinds of prompt, told apart by their form."""
        if not self.template.startswith(f"a {SLOTS}"):
            return PROPERTY  # an adjective stands before the slot
        return ACCESSORY if re.search(r"\bwearing\b|\boutfit\b", self.template) else PLACE


@dataclass(frozen=True)
class BenchSubject:
    name: str
    class_name: str
    photos: tuple[Path, ...]
    live: bool  # which list of prompts is its own


@dataclass(frozen=True)
class DataSet:
    """Usable subjects and both prompt lists; `problems` has one line for everything that is not as it should be."""

    folder: Path
    subjects: tuple[BenchSubject, ...]
    object_prompts: tuple[BenchPrompt, ...]
    live_prompts: tuple[BenchPrompt, ...]
    problems: tuple[str, ...] = field(default=())

    def prompts(self, subject: BenchSubject) -> tuple[BenchPrompt, ...]:
        return self.live_prompts if subject.live else self.object_prompts

    def subject(self, name: str) -> BenchSubject:
        for subject in self.subjects:
            if subject.name == name:
                return subject
        raise DataSetError(
            f'{self.folder} has no subject "{name}". It has: {", ".join(s.name for s in self.subjects)}.'
        )


def read_dataset(folder: Path | str, live_classes: Sequence[str] = LIVE_CLASSES) -> DataSet:
    """Read the data set in `folder` or its subfolder `dataset`. Raises DataSetError where nothing can be scored."""
    folder = Path(folder)
    if (folder / "dataset" / PROMPT_FILE).is_file():
        folder = folder / "dataset"
    path = folder / PROMPT_FILE
    if not path.is_file():
        raise DataSetError(f"{path} is missing. Give the folder `dataset` of the google/dreambooth repository.")
    text = path.read_text(encoding="utf-8")
    classes, (object_prompts, live_prompts) = read_classes(text), read_prompts(text)
    problems = [f"{path}: {what}" for what in _odd_lists(classes, object_prompts, live_prompts)]
    subjects = []
    for name, class_name in classes.items():
        photos, found = _photos(folder / name)
        problems += found
        if photos:
            subjects.append(BenchSubject(name, class_name, photos, class_name in live_classes))
    extra = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name not in classes and entry.name[0] != "."
    )
    problems += [f"{folder / name}: no subject of that name in {PROMPT_FILE}, not used" for name in extra]
    if not subjects or not object_prompts or not live_prompts:
        listed = "; ".join(problems[:8])
        raise DataSetError(
            f"{folder} holds nothing to score ({listed}). Copy `dataset` of the google/dreambooth repository again."
        )
    return DataSet(folder, tuple(subjects), object_prompts, live_prompts, tuple(problems))


def read_classes(text: str) -> dict[str, str]:
    """The table "subject_name,class" at the head of the file."""
    head = text.partition("Prompts")[0]
    pairs = re.findall(r"^([\w-]+),([^,\n]+)$", head, re.M)
    return {name: class_name.strip() for name, class_name in pairs if name != "subject_name"}


def read_prompts(text: str) -> tuple[tuple[BenchPrompt, ...], tuple[BenchPrompt, ...]]:
    """(object prompts, live prompts): every quoted sentence with both slots below its heading."""
    _, _, rest = text.partition("Object Prompts")
    objects, _, live = rest.partition("Live Subject Prompts")
    found = (re.findall(r"""['"]([^'"\n]*\{0\} \{1\}[^'"\n]*)['"]""", part) for part in (objects, live))
    first, second = (tuple(BenchPrompt(sentence) for sentence in sentences) for sentences in found)
    return first, second


def _odd_lists(classes: dict[str, str], objects: tuple, live: tuple) -> list[str]:
    found = {"30 subjects": len(classes), "25 object prompts": len(objects), "25 live prompts": len(live)}
    return [
        f"{count} found, {expected} expected" for expected, count in found.items() if count != int(expected.split()[0])
    ]


def _photos(folder: Path) -> tuple[tuple[Path, ...], list[str]]:
    """Readable photos of a subject, and a line about everything else in its folder."""
    if not folder.is_dir():
        return (), [f"{folder}: missing"]
    try:
        photos, report = read_photos(folder)
    except PhotoError as error:
        return (), [str(error)]
    skipped = [f"{folder / line}" for line in report if ": skipped" in line and not line.startswith(".")]
    few = [f"{folder}: only {len(photos)} photo, the real-images row needs two"] if len(photos) < 2 else []
    return tuple(folder / photo.name for photo in photos), skipped + few
