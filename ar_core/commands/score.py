"""`ar-personalize score`: score folders of pictures as DreamBench does, and hold them against each other."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..devices import default_device
from ..dreambench.common_ground import missing_subjects, on_common_ground, shared_prompts
from ..dreambench.comparison_report import COMPARISON_FILES, comparison_as_markdown, found_differences, write_comparison
from ..dreambench.comparisons import Comparison, named_in_advance
from ..dreambench.dataset import DataSet
from ..dreambench.encoders import PAPER_ENCODERS, EncoderChoice
from ..dreambench.kept_scores import read_numbers, read_report
from ..dreambench.measures.registry import choose_measures, needs_others
from ..dreambench.pictures import Picture, PicturesError, find_pictures_to_score, is_plain_name
from ..dreambench.protocol import Protocol
from ..dreambench.scoring import SubjectScores
from ..files import empty_folder
from ..quoting import quoted
from .output import try_writing
from .scoring import (
    Scorer,
    chosen_encoders,
    chosen_suite,
    encoder_options,
    gallery,
    load_encoders,
    protocol_of,
    read_pictures,
    read_suite,
    score_all,
    suite_options,
)

THESE = "these pictures"  # what a table calls a single folder


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="[NAME=]FOLDER",
        help="folders of pictures, of this software or another, one for each method; NAME is what tables call it "
        "(default: the folder's name)",
    )
    command.add_argument(
        "--scores",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
        help="the scores.json of earlier reports, to stand in the same table; refused where they were measured "
        "otherwise",
    )
    command.add_argument(
        "--numbers",
        type=Path,
        help="CSV of any other methods' means, to stand in the same table: columns method, subject and the measures",
    )
    command.add_argument(
        "--against",
        metavar="NAME",
        help="of several methods: the one that the first is compared with above all, named before anything is scored "
        "(default: the second)",
    )
    suite_options(command, required=False)
    command.add_argument("--photos", type=Path, help="instead of --data: the photos of one subject")
    command.add_argument(
        "--table",
        type=Path,
        help="CSV with the columns file, subject, prompt (default: pictures.csv in the folder, else the prompts inside "
        "our PNGs, else file names)",
    )
    command.add_argument(
        "--class-images",
        type=Path,
        help="pictures of the bare class, for prior preservation (one folder with one subject only)",
    )
    encoder_options(command)
    command.add_argument("--device", default=default_device(), help="default: %(default)s")
    command.add_argument("--method", default=THESE, help="what the table calls a single folder (default: %(default)s)")
    command.add_argument("--out", type=Path, default=Path("scores"), help="folder for the report")


Reports = dict[str, tuple[list[SubjectScores], Protocol]]  # earlier ones, by method
Scores = dict[str, list[SubjectScores]]  # by method


@dataclass(frozen=True)
class Methods:
    """What is to stand in the table, in its order: pictures, earlier reports, and mere numbers, by name."""

    pictures: Mapping[str, list[Picture]]
    earlier: Reports
    given: Scores

    @property
    def names(self) -> list[str]:
        return [*self.pictures, *self.earlier, *self.given]


def run(options: argparse.Namespace) -> None:
    methods = chosen_methods(options)
    primary = chosen_primary(options, methods)
    try_writing(options.out / "scores.json")  # what cannot be written is said before anything is scored
    protocols = {name: protocol for name, (_, protocol) in methods.earlier.items()}
    if not methods.pictures:
        check_comparable(protocols)
        compare_all({}, methods, next(iter(protocols.values())), primary, empty_folder(options.out))
        return
    source, choice = source_of(options, methods.pictures)
    measures = choose_measures(options.measures)
    encoders = load_encoders(options, choice)
    scorer = Scorer(
        encoders, source, measures, gallery(encoders, source, measures), chosen_class_images(options, methods)
    )
    check_comparable({methods.names[0]: scorer.protocol(subjects_of(methods.pictures)), **protocols})
    if len(methods.names) == 1:
        name, pictures = next(iter(methods.pictures.items()))
        title = options.method
        if options.method == THESE and "=" in options.images[0]:
            title = name
        score_all(scorer, pictures, title, options.out)
        return
    out = empty_folder(options.out)
    scored = {name: score_all(scorer, pictures, name, out / name) for name, pictures in methods.pictures.items()}
    compare_all(scored, methods, protocol_of(encoders, next(iter(scored.values())), scorer.gallery), primary, out)


def compare_all(scored: Scores, methods: Methods, protocol: Protocol, primary: Comparison | None, out: Path) -> None:
    """Everything in one table, written into `out` and printed. `scored`: the pictures of now."""
    together = {**scored, **{name: subjects for name, (subjects, _) in methods.earlier.items()}, **methods.given}
    shared, left_out = on_common_ground(together)
    notes = [*missing_subjects(together), *left_out]
    paths = write_comparison(out, shared, protocol, primary, notes=notes)
    print(comparison_as_markdown(shared, protocol.names, found_differences(shared, primary), notes))
    print(f"wrote {', '.join(path.name for path in paths)} in {out}")


# ---------------------------------------------------------------- what is asked for


def chosen_methods(options: argparse.Namespace) -> Methods:
    """Everything that the options name, read and checked but not scored. Raises PicturesError, ScoresError."""
    folders = named(options.images, "images")
    if folders and (options.data is None) == (options.photos is None):
        raise PicturesError("Give either --data (DreamBench) or --photos (one subject).")
    subject = ""
    if options.photos is not None:
        subject = options.photos.resolve().name
        if needs_others(choose_measures(options.measures)):
            raise PicturesError("--measures has one that looks at other subjects too: give --data instead of --photos.")
    check_out(options.out, [*folders.values(), *([options.photos] if options.photos is not None else [])])
    earlier = {name: read_report(path) for name, path in named(options.scores, "scores").items()}
    if not folders and len(earlier) < 2:
        raise PicturesError("Give a folder of pictures with --images, or two earlier reports with --scores.")
    pictures = {name: find_pictures_to_score(folder, options.table, subject) for name, folder in folders.items()}
    given: Scores = {}
    if options.numbers:
        given = read_numbers(options.numbers, measures_of(options, earlier))
    methods = Methods(pictures, earlier, given)
    check_names([*methods.names, options.method])
    check_common_prompts({name: prompts_of(found) for name, found in pictures.items()}, earlier)
    return methods


def prompts_of(pictures: Sequence[Picture]) -> dict[str, set[str]]:
    """By subject."""
    found: dict[str, set[str]] = {}
    for picture in pictures:
        found.setdefault(picture.subject, set()).add(picture.prompt)
    return found


def check_common_prompts(prompts: Mapping[str, Mapping[str, set[str]]], earlier: Reports) -> None:
    """Raise OtherProtocol where two methods share a subject and none of its prompts: before anything is scored."""
    known = dict(prompts)
    for name, (_, protocol) in earlier.items():
        known[name] = {subject: set(own.prompts) for subject, own in protocol.subjects.items()}
    shared_prompts(known)


def check_out(out: Path, folders: Sequence[Path]) -> None:
    """Raise PicturesError where the report would lie among pictures, which the next scoring would find."""
    for folder in folders:
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise PicturesError(f"--out is {out}, in the folder of pictures {folder}. Choose a folder outside of it.")


def measures_of(options: argparse.Namespace, earlier: Reports) -> tuple[str, ...]:
    """The columns of the table."""
    if options.images:
        measures = choose_measures(options.measures)
        return (*default_encoders(options).measures, *(measure.title for measure in measures))
    return next(iter(earlier.values()))[0][0].measures


def default_encoders(options: argparse.Namespace) -> EncoderChoice:
    """Those that the options name, or that fit the data set."""
    if options.data is None:
        return chosen_encoders(options, PAPER_ENCODERS)
    return chosen_encoders(options, chosen_suite(options).encoders)


def named(words: Sequence[str], option: str) -> dict[str, Path]:
    """ "name=path", or a path that is called like its last part, by name. Raises PicturesError."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            whole = Path(word).resolve()
            name = whole.name
            if option == "scores" and whole.suffix == ".json":
                name = whole.parent.name
            path = word
        if not path:
            raise PicturesError(f"--{option} names no folder for {quoted(name)}. Write NAME=PATH, or the path alone.")
        if name in found:
            raise PicturesError(f"--{option} names {quoted(name)} twice; write NAME=PATH to tell them apart.")
        found[name] = Path(path)
    return found


def check_names(names: Sequence[str]) -> None:
    """Raise PicturesError where two methods have one name, or a name cannot be that of a report's folder."""
    for name in names:
        if not name.strip() or not is_plain_name(name) or name in COMPARISON_FILES:
            raise PicturesError(f"The method {quoted(name)} needs a name that can be a folder's: write NAME=PATH.")
        if names.count(name) > 1:
            raise PicturesError(f"Two methods are called {quoted(name)}; write NAME=PATH to tell them apart.")


def chosen_primary(options: argparse.Namespace, methods: Methods) -> Comparison | None:
    """The comparison that the table is about; None of a single method. Raises PicturesError."""
    others = methods.names[1:]
    if options.against is not None and options.against not in others:
        raise PicturesError(
            f"--against is {quoted(options.against)}; it must be one of the methods beside the first: "
            f"{', '.join(others) or 'there is none'}."
        )
    return named_in_advance(methods.names, measures_of(options, methods.earlier), options.against)


def chosen_class_images(options: argparse.Namespace, methods: Methods) -> list[Image.Image]:
    """Pictures of the bare class. Raises PicturesError where they would be held against several subjects."""
    if not options.class_images:
        return []
    if len(methods.pictures) > 1 or len(subjects_of(methods.pictures)) > 1:
        raise PicturesError("--class-images are of one subject's class: give one folder with pictures of one subject.")
    return read_pictures(options.class_images)


def subjects_of(pictures: Mapping[str, list[Picture]]) -> set[str]:
    """Whom these pictures show."""
    return {picture.subject for found in pictures.values() for picture in found}


def source_of(
    options: argparse.Namespace, pictures: Mapping[str, list[Picture]]
) -> tuple[DataSet | Path, EncoderChoice]:
    """Where the photos of these pictures' subjects are, and the encoders that fit them."""
    choice = default_encoders(options)
    if options.data is None:
        return options.photos, choice
    only: set[str] | None = subjects_of(pictures)
    if needs_others(choose_measures(options.measures)):
        only = None
    return read_suite(chosen_suite(options), only), choice


# ---------------------------------------------------------------- what may stand in one table


def check_comparable(protocols: Mapping[str, Protocol]) -> None:
    """Raise OtherProtocol where two of these, by method, were measured differently."""
    for (one, mine), (other, theirs) in itertools.combinations(protocols.items(), 2):
        mine.check_comparable(theirs, one, other)
