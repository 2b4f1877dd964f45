"""Which picture shows which subject, made from which prompt: of this project's own samples, or of any other tool."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..photos import clean_photo, strict_pillow
from ..quoting import quoted
from ..tables import TableError, read_csv
from ..text import without_identifier

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
TABLE = "pictures.csv"
LONGEST_SUBJECT = 80  # letters
SEPARATORS = '/\\:*?"<>|'  # what some system reads in a file's name
NAMED = "dog__a_dog_in_the_jungle__0.png"
ADVICE = f'Write a {TABLE} with the columns file, subject, prompt beside the pictures, or name them like "{NAMED}".'
# What follows a prompt in a file's name and is none itself: a number, or a word with one, such as "seed 3".
COUNTER = re.compile(r"(?:[a-z]{0,6} ?[-#]?)?\d+(?:[ -]\d+)*|", re.IGNORECASE)


class PicturesError(ValueError):
    """Pictures of which subject or prompt are not known; the message says how to tell."""


@dataclass(frozen=True)
class Picture:
    """A file, the subject it should show and the plain sentence it was made from (identifier removed).

    `seed`: what it was drawn from, where known.
    """

    path: Path
    subject: str
    prompt: str
    seed: int | None = None

    def open(self) -> Image.Image:
        """The picture as photos are read: upright, in 8 bits, in sRGB, transparency on white. Raises PicturesError."""
        with _opened(self.path) as image:
            return clean_photo(image)[0]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture to read from. Raises PicturesError for whatever goes wrong meanwhile."""
    try:
        with strict_pillow(), Image.open(path) as image:
            yield image
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise PicturesError(f"{path} is too large (above {most:.0f} megapixels). Save it smaller.") from error
    except Exception as error:  # decoders raise whatever their parsers run into
        reason = " ".join(str(error).split())
        raise PicturesError(f"{path} is damaged or no picture ({reason}). Remove it or save it again.") from error


class WholePictures:
    """Hashes of PNG files that are there and undamaged; a file is read again when it has changed."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, int, int], str] = {}  # by time of change and size too

    def hash(self, path: Path) -> str:
        """A name for the file's content; "" where it has gone, or its own checksums say that it is damaged."""
        try:
            state = path.stat()
            known = (path, state.st_mtime_ns, state.st_size)
            if known not in self._read:
                with Image.open(path) as image:
                    image.verify()
                self._read[known] = hashlib.sha256(path.read_bytes()).hexdigest()
        except Exception:  # it has gone, or as above
            return ""
        return self._read[known]


def find_pictures_to_score(folder: Path | str, table: Path | None = None, subject: str = "") -> list[Picture]:
    """Every picture below `folder`, with subject and prompt from the first source that knows them:

    1. `table`, or pictures.csv in the folder: columns file, subject, prompt, and seed where it is known
    2. the prompt that `python -m ar_core sample` writes into its PNGs; the subject is then `subject`, or the subfolder
    3. the file's name: "<subject>__<prompt>__<anything>.png", underscores for spaces; where the subject is known from
       `subject` or the subfolder, also "<prompt>__<anything>.png"

    Raises PicturesError naming the first picture of which something is missing, or whose name can be read in two ways.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PicturesError(f"There is no folder {folder}. Give the folder with the pictures to score.")
    if table is None and (folder / TABLE).is_file():
        table = folder / TABLE
    if table is not None:
        return _from_table(folder, table, subject)
    files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not files:
        raise PicturesError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}).")
    return [_from_file(folder, path, subject) for path in sorted(files)]


def _from_table(folder: Path, table: Path, subject: str) -> list[Picture]:
    try:
        rows = read_csv(table, ("file", "prompt"))
    except TableError as error:
        raise PicturesError(str(error)) from error
    found: list[Picture] = []
    for number, row in enumerate(rows, 2):
        path = folder / row["file"]
        name = (row.get("subject") or subject).strip()
        first = found[0].subject if found else name
        if not os.path.isfile(path):
            raise PicturesError(f"{table}, line {number}: the file {path} does not exist.")
        prompt = without_identifier(row["prompt"])
        if not name or not prompt:
            raise PicturesError(f"{table}, line {number}: subject or prompt is empty.")
        if any(path == known.path for known in found):
            raise PicturesError(f"{table}, line {number}: the file {path} stands there a second time.")
        if not is_plain_name(name):
            raise PicturesError(
                f"{table}, line {number}: the subject {quoted(name)} cannot be part of a file name, as reports need "
                f"it. Use letters, digits, spaces, - and _, at most {LONGEST_SUBJECT}."
            )
        if subject and name != first:
            raise PicturesError(
                f"{table}, line {number}: the subject {quoted(name)} is another than {quoted(first)} before, and the "
                "photos of one subject were given. Give --data with all of them, or a table of one subject."
            )
        found.append(Picture(path, name, prompt, _seed(row.get("seed"))))
    return found


def _seed(written: object) -> int | None:
    """A seed that a table or a PNG names; None where it is not a whole number."""
    try:
        return int(str(written))
    except ValueError:
        return None


def is_plain_name(name: str) -> bool:
    """Whether a subject's name can be that of a file, in the report's folder and nowhere else."""
    if not name.isprintable() or name.startswith(".") or len(name) > LONGEST_SUBJECT:
        return False
    return not set(name) & set(SEPARATORS)


def _from_file(folder: Path, path: Path, subject: str) -> Picture:
    subfolders = path.parent.relative_to(folder).parts
    if subfolders and subject and (folder / subject).is_dir() and not _same(subfolders[0], subject):
        raise PicturesError(
            f"{path} lies beside the folder of {quoted(subject)}, whose photos were given, and shows another subject. "
            f"Give {folder / subject}, or --data with all subjects."
        )
    if not subject and subfolders:
        subject = subfolders[0]
    with _opened(path) as image:
        prompt = _written_prompt(image)
        seed = _written_seed(image)
    named = ""
    if not prompt:
        named, prompt = _from_name(path, subject)
    elif not subject:
        named, _ = _from_name(path, subject)
    name = subject or named
    prompt = without_identifier(prompt)
    if not name:
        raise PicturesError(f"{path}: subject unknown. {ADVICE}")
    if not prompt:
        raise PicturesError(f"{path}: prompt unknown. {ADVICE}")
    return Picture(path, name, prompt, seed)


def _from_name(path: Path, subject: str) -> tuple[str, str]:
    """Subject and prompt as a file's name gives them, "" for what it does not; `subject`: where it is known.

    Raises PicturesError for a name of which either part could be the prompt: a guess would give wrong scores.
    """
    raw, *others = path.stem.split("__")
    if not others:
        return "", ""
    first, second = [part.replace("_", " ").strip() for part in (raw, others[0])]
    if _is_counter(second):
        return subject, first
    if not subject:
        if len(others) > 1:
            return raw, second
        return "", first
    if _same(first, subject) and len(others) > 1:
        return subject, second
    if not _same(first, subject) and len(others) == 1 and len(second.split()) <= len(first.split()):
        return subject, first
    raise PicturesError(
        f"{path}: the prompt may be {quoted(first)} or {quoted(second)}, as the subject is {quoted(subject)}. Write a "
        f"{TABLE} with the columns file, subject, prompt beside the pictures, or begin their names with the subject: "
        f"{quoted(f'{subject}__a_dog_in_the_jungle__0.png')}."
    )


def _same(part: str, subject: str) -> bool:
    """Whether a part of a file's name, which has spaces for underscores, is the subject's name."""
    return part.casefold() == subject.replace("_", " ").strip().casefold()


def _is_counter(part: str) -> bool:
    """Whether a part only tells pictures of one prompt apart, and so nobody meant it as words."""
    return COUNTER.fullmatch(part) is not None


def _written_prompt(image: Image.Image) -> str:
    """The text chunk "prompt" of a PNG, unless it is ComfyUI's graph."""
    text = image.info.get("prompt", "")
    if not isinstance(text, str) or text.startswith("{"):
        return ""
    return text


def _written_seed(image: Image.Image) -> int | None:
    """The seed among the settings that our own PNGs hold."""
    try:
        settings = json.loads(image.info.get("settings", ""))
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(settings, dict):
        return None
    return _seed(settings.get("seed"))
