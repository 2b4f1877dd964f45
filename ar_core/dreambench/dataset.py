"""A data set as the google/dreambooth repository lays it out: one folder of photos per subject, one list of prompts.

    dataset/
        prompts_and_classes.txt
        backpack/00.jpg ...  dog/00.jpg ...

DreamBench's own prompts and photos are read from the user's copy; this project contains neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..files import read_text
from ..photos import PhotoError, read_photos
from ..quoting import quoted

PROMPT_FILE = "prompts_and_classes.txt"
SLOTS = "{0} {1}"  # identifier and class, as the file writes them
# DreamBooth's three kinds of prompt.
PLACE = "re-contextualization"
ACCESSORY = "accessorization"
PROPERTY = "property modification"


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
        if re.search(r"\bwearing\b|\boutfit\b", self.template):
            return ACCESSORY
        return PLACE


@dataclass(frozen=True)
class BenchSubject:
    """A subject of a data set and its photos."""

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
        """The list of prompts that this subject is drawn from."""
        if subject.live:
            return self.live_prompts
        return self.object_prompts

    def subject(self, name: str) -> BenchSubject:
        """Raises DataSetError where there is none of that name."""
        for subject in self.subjects:
            if subject.name == name:
                return subject
        raise _no_subject(self.folder, name, [subject.name for subject in self.subjects])


def _no_subject(folder: Path, name: str, known: Iterable[str]) -> DataSetError:
    return DataSetError(f"{folder} has no subject {quoted(name)}. It has: {', '.join(known)}.")


def read_dataset(
    folder: Path | str,
    live_classes: Sequence[str],
    subjects: int | None = None,
    prompts: int | None = None,
    advice: str = "",
    only: Collection[str] | None = None,
) -> DataSet:
    """Read the data set in `folder` or its subfolder `dataset`.

    Subjects of `live_classes` get the live prompts. `subjects`, `prompts`: how many of each there should be; another
    number becomes a line of `problems`. `only`: the subjects whose photos are read, all where None. Raises
    DataSetError, with `advice` where nothing can be scored, and for a subject that there is not.
    """
    folder = Path(folder)
    if (folder / "dataset" / PROMPT_FILE).is_file():
        folder = folder / "dataset"
    path = folder / PROMPT_FILE
    if not path.is_file():
        raise DataSetError(f"{path} is missing. {advice}")
    text = read_text(path)
    classes = read_dataset_classes(text)
    object_prompts, live_prompts = read_dataset_prompts(text)
    problems = [
        *_odd_count(path, "subjects", len(classes), subjects),
        *_odd_count(path, "object prompts", len(object_prompts), prompts),
        *_odd_count(path, "live prompts", len(live_prompts), prompts),
    ]
    for name in only or ():
        if name not in classes:
            raise _no_subject(folder, name, classes)
    usable = []
    for name, class_name in classes.items():
        if only is not None and name not in only:
            continue
        photos, found = _photos(folder / name)
        problems += found
        if photos:
            usable.append(BenchSubject(name, class_name, photos, class_name in live_classes))
    if subjects is None:  # another data set than DreamBench, of which somebody may hold a part alone
        unknown = set(live_classes) - set(classes.values())
        problems += [f"no subject is of the class {quoted(name)}, which is called live" for name in sorted(unknown)]
    problems += _strangers(folder, classes)
    data = DataSet(folder, tuple(usable), object_prompts, live_prompts, tuple(problems))
    if not usable or not all(data.prompts(subject) for subject in usable):
        listed = "; ".join(problems[:8])
        raise DataSetError(f"{folder} holds nothing to score, or no prompts for it ({listed}). {advice}")
    return data


def read_dataset_classes(text: str) -> dict[str, str]:
    """The table "subject_name,class" at the head of the file."""
    head = text.partition("Prompts")[0]
    pairs = re.findall(r"^([\w-]+),([^,\n]+)$", head, re.M)
    return {name: class_name.strip() for name, class_name in pairs if name != "subject_name"}


def read_dataset_prompts(text: str) -> tuple[tuple[BenchPrompt, ...], tuple[BenchPrompt, ...]]:
    """(object prompts, live prompts): every quoted sentence with both slots below its heading."""
    rest = text.partition("Object Prompts")[2]
    objects, _, live = rest.partition("Live Subject Prompts")
    return _sentences(objects), _sentences(live)


def _sentences(part: str) -> tuple[BenchPrompt, ...]:
    found = re.findall(r"""['"]([^'"\n]*\{0\} \{1\}[^'"\n]*)['"]""", part)
    return tuple(BenchPrompt(sentence) for sentence in found)


def _odd_count(path: Path, what: str, found: int, expected: int | None) -> list[str]:
    if expected is None or found == expected:
        return []
    return [f"{path}: {found} found, {expected} {what} expected"]


def _strangers(folder: Path, classes: Mapping[str, str]) -> list[str]:
    """A line about every folder that the table does not name."""
    lines = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name not in classes and not entry.name.startswith((".", "__")):
            lines.append(f"{entry}: no subject of that name in {PROMPT_FILE}, not used")
    return lines


def _photos(folder: Path) -> tuple[tuple[Path, ...], list[str]]:
    """Readable photos of a subject, and a line about everything else in its folder."""
    if not os.path.isdir(folder):
        return (), [f"{folder}: missing"]
    try:
        photos, report = read_photos(folder)
    except PhotoError as error:
        return (), [str(error)]
    lines = [f"{folder / line}" for line in report if ": skipped" in line and not line.startswith(".")]
    if len(photos) < 2:
        lines.append(f"{folder}: only {len(photos)} photo, the real-images row needs two")
    return tuple(folder / photo.name for photo in photos), lines
