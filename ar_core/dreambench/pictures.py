"""Which picture shows which subject, made from which prompt: of this project's own samples, or of any other tool."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..files import read_text
from ..quoting import quoted
from ..text import BRACKETED, Identifier, resolve_prompt

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
TABLE = "pictures.csv"
LONGEST_SUBJECT = 80  # letters
SEPARATORS = '/\\:*?"<>|'  # what some system reads in a file's name
ADVICE = (
    "Write a pictures.csv with the columns file, subject, prompt beside the pictures, or name them like "
    '"dog__a_dog_in_the_jungle__0.png".'
)


class PicturesError(ValueError):
    """Pictures of which subject or prompt are not known; the message says how to tell."""


@dataclass(frozen=True)
class Picture:
    """A file, the subject it should show and the plain sentence it was made from (identifier removed)."""

    path: Path
    subject: str
    prompt: str

    def open(self) -> Image.Image:
        """The picture, RGB. Raises PicturesError."""
        try:
            with Image.open(self.path) as image:
                return image.convert("RGB")
        except Exception as error:  # decoders raise whatever their parsers run into
            raise PicturesError(f"{self.path} is damaged or no picture ({error}). Remove it.") from error


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

    1. `table`, or pictures.csv in the folder: columns file, subject, prompt
    2. the prompt that `python -m ar_core sample` writes into its PNGs; the subject is then the subfolder, or `subject`
    3. the file's name: "<subject>__<prompt>__<anything>.png", underscores for spaces; or "<prompt>__….png" in a
       subfolder named like the subject

    Raises PicturesError naming the first picture of which something is missing.
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
    rows = _rows(table)
    if not rows or not {"file", "prompt"} <= set(rows[0]):
        raise PicturesError(
            f"{table} needs a first line with the columns file, subject, prompt, and a line per picture."
        )
    found = []
    for number, row in enumerate(rows, 2):
        path = folder / (row["file"] or "")
        name = (row.get("subject") or subject).strip()
        if not os.path.isfile(path):
            raise PicturesError(f"{table}, line {number}: the file {path} does not exist.")
        if not name or not row["prompt"]:
            raise PicturesError(f"{table}, line {number}: subject or prompt is empty.")
        if not is_plain_name(name):
            raise PicturesError(
                f"{table}, line {number}: the subject {quoted(name)} cannot be part of a file name, as reports need "
                f"it. Use letters, digits, spaces, - and _, at most {LONGEST_SUBJECT}."
            )
        found.append(Picture(path, name, without_identifier(row["prompt"])))
    return found


def is_plain_name(name: str) -> bool:
    """Whether a subject's name can be that of a file, in the report's folder and nowhere else."""
    if not name.isprintable() or name.startswith(".") or len(name) > LONGEST_SUBJECT:
        return False
    return not set(name) & set(SEPARATORS)


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(read_text(table), newline="")))
    except csv.Error as error:
        raise PicturesError(f"{table} cannot be read as a CSV table ({error}).") from error


def _from_file(folder: Path, path: Path, subject: str) -> Picture:
    name = subject
    subfolders = path.parent.relative_to(folder).parts
    if not name and subfolders:
        name = subfolders[0]
    prompt = _written_prompt(path)
    if not prompt:
        parts = path.stem.split("__")
        if not name and len(parts) > 2:
            name = parts.pop(0)
        if len(parts) > 1:
            prompt = parts[0].replace("_", " ")
    if not name:
        raise PicturesError(f"{path}: subject unknown. {ADVICE}")
    if not prompt:
        raise PicturesError(f"{path}: prompt unknown. {ADVICE}")
    return Picture(path, name, without_identifier(prompt))


def _written_prompt(path: Path) -> str:
    """The text chunk "prompt" of a PNG, unless it is ComfyUI's graph."""
    try:
        with Image.open(path) as image:
            text = image.info.get("prompt", "")
    except Exception as error:  # as above
        raise PicturesError(f"{path} is damaged or no picture. Remove it.") from error
    if text.startswith("{"):
        return ""
    return text


def without_identifier(prompt: str, class_name: str = "") -> str:
    """ "a [V] dog in the jungle" -> "a dog in the jungle"; a missing `class_name` is put in."""
    if class_name:
        names = set(BRACKETED.findall(prompt))
        prompt = resolve_prompt(prompt, [Identifier(name, class_name, 0, 1, dropped=True) for name in names])
    return " ".join(BRACKETED.sub(" ", prompt).split())
