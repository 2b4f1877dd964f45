"""What the commands that score share: the options of the encoders, reading a data set, scoring many subjects."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..control import Cancel, never, stop_if
from ..dreambench.dataset import DataSet
from ..dreambench.encoders import MINIATURE_ENCODERS, OWN_ENCODERS, PAPER_ENCODERS, EncoderChoice, Encoders
from ..dreambench.measures.measure import Measure
from ..dreambench.measures.registry import OPTIONAL, choose_measures, needed_encoders, needs_others
from ..dreambench.over_subjects import score_table
from ..dreambench.pictures import Picture
from ..dreambench.protocol import Protocol, SubjectProtocol
from ..dreambench.report import scores_as_markdown, write_new_report, write_report
from ..dreambench.scoring import SubjectScores, score_subject
from ..dreambench.sheet import score_sheet
from ..dreambench.suites import DRAWINGS, Suite, choose_suite
from ..photos import read_photos
from .shared import checked_device

CHOICES = {"paper": PAPER_ENCODERS, "miniature": MINIATURE_ENCODERS, "own": OWN_ENCODERS}


def suite_options(command: argparse.ArgumentParser, required: bool) -> None:
    """Which data set; `chosen_suite` reads them."""
    command.add_argument(
        "--data",
        type=Path,
        required=required,
        help=f'DreamBench\'s `dataset` folder, another folder in its layout, or "{DRAWINGS}": the drawn subjects that '
        "ship",
    )
    command.add_argument(
        "--live-classes",
        help="of another folder than DreamBench's: comma-separated classes of what is alive, which gets the live "
        "prompts",
    )


def chosen_suite(options: argparse.Namespace) -> Suite:
    """The suite that the options name."""
    live_classes = None
    if options.live_classes is not None:
        live_classes = [name.strip() for name in options.live_classes.split(",")]
    return choose_suite(options.data, live_classes)


def read_suite(suite: Suite, only: Collection[str] | None = None) -> DataSet:
    """Its data set, or some of its subjects, with what is odd about it printed."""
    data = suite.read(only)
    for problem in data.problems:
        print(f"note: {problem}")
    return data


def encoder_options(command: argparse.ArgumentParser) -> None:
    """Which encoders; `load_encoders` reads them."""
    command.add_argument(
        "--encoders",
        choices=tuple(CHOICES),
        help="paper: DINO and CLIP; miniature: the small ones that ship, for drawings; own: any ViT and CLIP, under "
        f"names that claim nothing (default: paper, or miniature with --data {DRAWINGS})",
    )
    command.add_argument("--dino", help=f"folder or hub name of DINO ViT-S/16 (default {PAPER_ENCODERS.vit})")
    command.add_argument("--clip", help=f"folder or hub name of CLIP ViT-B/32 (default {PAPER_ENCODERS.clip})")
    listed = "; ".join(f"{name}: {measure.title} ({measure.citation})" for name, measure in OPTIONAL.items())
    command.add_argument(
        "--measures", default="", help=f"comma-separated, beside those of the protocol (default: none). {listed}"
    )
    for encoder in needed_encoders(tuple(OPTIONAL.values())):
        command.add_argument(
            f"--{encoder.name}", help=f"for the measure: folder or hub name of its encoder (default {encoder.source})"
        )


def chosen_encoders(options: argparse.Namespace, default: EncoderChoice) -> EncoderChoice:
    """Those that the options name; `default`: those that fit the suite. Raises ValueError."""
    choice = default
    if options.encoders:
        choice = CHOICES[options.encoders]
    choice = replace(choice, vit=options.dino or choice.vit, clip=options.clip or choice.clip)
    if not choice.vit or not choice.clip:
        raise ValueError("--encoders own needs --dino with the folder of a ViT and --clip with the folder of a CLIP.")
    return choice


def load_encoders(options: argparse.Namespace, choice: EncoderChoice) -> Encoders:
    """Load them, and what --measures needs beside them, onto the device that the options name. Raises EncoderError."""
    more = [
        replace(encoder, source=getattr(options, encoder.name) or encoder.source)
        for encoder in needed_encoders(choose_measures(options.measures))
    ]
    return Encoders.load(choice, checked_device(options.device), more)


def read_pictures(folder: Path) -> list[Image.Image]:
    """The pictures of a folder, with those that cannot be used printed. Raises PhotoError."""
    photos, report = read_photos(folder)
    for line in report:
        if ": skipped, " in line and not line.startswith("."):
            print(f"note: {folder / line}")
    return [photo.image for photo in photos]


@dataclass(frozen=True, eq=False)
class Reference:
    """What a subject's pictures are compared with: its photos; and the kind of each prompt, where known."""

    photos: list[Image.Image]
    kinds: dict[str, str]

    @classmethod
    def of(cls, source: DataSet | Path, name: str) -> Reference:
        """The subject `name` of a data set, or that whose photos are in a folder. Raises DataSetError, PhotoError."""
        if isinstance(source, Path):
            return cls(read_pictures(source), {})
        subject = source.subject(name)
        kinds = {prompt.plain(subject.class_name): prompt.capability for prompt in source.prompts(subject)}
        return cls([photo.image for photo in read_photos(list(subject.photos))[0]], kinds)

    def kind(self, prompt: str) -> str:
        """ "" for a prompt that is not of the data set."""
        return self.kinds.get(prompt, "")


def gallery(encoders: Encoders, source: DataSet | Path, measures: Sequence[Measure]) -> dict[str, Tensor]:
    """Every subject's photos by the ViT, (m, d) each, where a measure compares with those of others."""
    if isinstance(source, Path) or not needs_others(measures):
        return {}
    names = [subject.name for subject in source.subjects]
    return {name: encoders.embed_by_vit(Reference.of(source, name).photos) for name in names}


@dataclass(frozen=True, eq=False)
class Scorer:
    """Everything that scoring pictures needs beside them.

    `source`: where photos are, a data set or the folder of the only subject. `gallery`: photos of every subject by the
    ViT, for measures that look at those of others. `several_trainings`: see `score_subject`.
    """

    encoders: Encoders
    source: DataSet | Path
    measures: Sequence[Measure] = ()
    gallery: Mapping[str, Tensor] = field(default_factory=dict)
    class_images: Sequence[Image.Image] = ()
    several_trainings: bool = False
    _references: dict[str, Reference] = field(default_factory=dict)  # by subject, once they were read

    def reference(self, name: str) -> Reference:
        """What the subject's pictures are compared with. Raises DataSetError, PhotoError."""
        if name not in self._references:
            self._references[name] = Reference.of(self.source, name)
        return self._references[name]

    def protocol(self, subjects: Collection[str]) -> Protocol:
        """How these subjects will be measured, as far as that is known before any picture is looked at."""
        known = {name: SubjectProtocol.of(self.reference(name).photos, ()) for name in subjects}
        return Protocol(self.encoders.names, self.encoders.instruments, known, tuple(self.gallery))

    def score(self, name: str, pictures: Sequence[Picture]) -> tuple[SubjectScores, Image.Image]:
        """The scores of a subject's pictures, and their sheet."""
        reference = self.reference(name)
        scored = score_subject(
            self.encoders,
            name,
            [picture.open() for picture in pictures],
            [picture.prompt for picture in pictures],
            reference.photos,
            files=[str(picture.path) for picture in pictures],
            seeds=[picture.seed for picture in pictures],
            capability=reference.kind,
            class_images=self.class_images,
            measures=self.measures,
            others={other: vectors for other, vectors in self.gallery.items() if other != name},
            several_trainings=self.several_trainings,
        )
        opened = {str(picture.path): picture for picture in pictures}
        return scored, score_sheet(scored, reference.photos, lambda picture: opened[picture.file].open())


def score_all(
    scorer: Scorer,
    pictures: Sequence[Picture],
    title: str,
    out: Path,
    *,
    replace: bool = False,
    cancel: Cancel = never,
) -> list[SubjectScores]:
    """Score every subject among `pictures` and write the report; stopped early, of the subjects that are scored.

    `title`: what the table calls the pictures. `replace`: `out` is a folder of our own, whose reports are made anew
    once they are whole; elsewhere what is there stays.
    """
    encoders = scorer.encoders
    found: list[SubjectScores] = []
    sheets: dict[str, Image.Image] = {}
    names = sorted({picture.subject for picture in pictures})
    cut = encoders.describe_cut([picture.prompt for picture in pictures])
    if cut:
        print(f"note: {cut}")
    try:
        for name in names:
            stop_if(cancel)
            scored, sheets[name] = scorer.score(name, [picture for picture in pictures if picture.subject == name])
            found.append(scored)
    finally:
        complete = len(found) == len(names)
        if not complete:
            print(f"Stopped: {len(found)} of {len(names)} subjects are scored.")
        if found and (complete or not replace):
            write: Callable[..., list[Path]] = partial(write_new_report, complete=complete)
            if replace:
                write = write_report
            write_and_print(found, protocol_of(encoders, found, scorer.gallery), title, out, sheets, write)
    return found


def write_and_print(
    scored: Sequence[SubjectScores],
    protocol: Protocol,
    title: str,
    out: Path,
    sheets: Mapping[str, Image.Image],
    write: Callable[..., list[Path]],
) -> None:
    """The report, by `write`, in `out` or a numbered folder where files would be overwritten, and on the screen."""
    paths = write(out, scored, protocol, title, sheets)
    print(scores_as_markdown(scored, score_table(scored, title), protocol.names))
    folder = paths[0].parent
    if folder != out:
        print(f"note: {out} holds files of such names already, which stay; this report is in {folder}.")
    print(f"wrote {', '.join(path.name for path in paths)} in {folder}")


def protocol_of(encoders: Encoders, scored: Sequence[SubjectScores], gallery: Collection[str] = ()) -> Protocol:
    """How these subjects were measured; `gallery`: whose photos were looked at for it."""
    known = {subject.subject: subject.protocol for subject in scored if subject.protocol is not None}
    return Protocol(encoders.names, encoders.instruments, known, tuple(gallery))
