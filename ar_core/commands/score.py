"""`ar-personalize score`: score folders of pictures as DreamBench does, and hold them against each other."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ..devices import default_device
from ..dreambench.common_ground import missing_subjects, on_common_ground
from ..dreambench.comparison_report import comparison_as_markdown, found_differences, write_new_comparison
from ..dreambench.comparisons import named_in_advance
from ..dreambench.dataset import DataSet
from ..dreambench.encoders import PAPER_ENCODERS, EncoderChoice
from ..dreambench.kept_scores import read_numbers, read_report
from ..dreambench.measures.registry import choose_measures, needs_others
from ..dreambench.pictures import Picture, PicturesError, find_pictures_to_score, is_plain_name
from ..dreambench.protocol import Protocol
from ..dreambench.scoring import SubjectScores
from ..quoting import quoted
from .output import try_writing
from .scoring import (
    chosen_encoders,
    chosen_suite,
    encoder_options,
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
        "--class-images", type=Path, help="pictures of the bare class, for prior preservation (one subject only)"
    )
    encoder_options(command)
    command.add_argument("--device", default=default_device(), help="default: %(default)s")
    command.add_argument("--method", default=THESE, help="what the table calls a single folder (default: %(default)s)")
    command.add_argument("--out", type=Path, default=Path("scores"), help="folder for the report")


def run(options: argparse.Namespace) -> None:
    if (options.data is None) == (options.photos is None):
        raise PicturesError("Give either --data (DreamBench) or --photos (one subject).")
    subject = "" if options.photos is None else options.photos.resolve().name
    folders = named(options.images, "images")
    earlier = {name: read_report(path) for name, path in named(options.scores, "scores").items()}
    check_names([*folders, *earlier])
    pictures = {name: find_pictures_to_score(folder, options.table, subject) for name, folder in folders.items()}
    if not pictures:
        raise PicturesError("Give at least one folder of pictures with --images.")
    try_writing(options.out / "scores.json")  # what cannot be written is said before anything is scored
    source, choice = source_of(options, pictures)
    methods = [*pictures, *earlier]
    given: dict[str, list[SubjectScores]] = {}
    if options.numbers:
        given = read_numbers(options.numbers, choice.measures)
        check_names([*methods, *given])
    methods += given
    primary = named_in_advance(methods, choice.measures, options.against)
    if options.against is not None and (primary is None or options.against not in methods[1:]):
        raise PicturesError(
            f"--against is {quoted(options.against)}; it must be one of the methods beside the first: "
            f"{', '.join(methods[1:]) or 'there is none'}."
        )
    class_images: list[Image.Image] = []
    if options.class_images:
        class_images = read_pictures(options.class_images)
    measures = choose_measures(options.measures)
    encoders = load_encoders(options, choice)
    scored: dict[str, list[SubjectScores]] = {}
    for name, found in pictures.items():
        title = name
        folder = options.out
        if len(methods) == 1:
            title = options.method
        else:
            folder = options.out / name
        scored[name] = score_all(encoders, found, source, title, folder, class_images, measures=measures)
    if len(methods) > 1:
        first = next(iter(scored))
        protocol = protocol_of(encoders, scored[first])
        compare_all(scored, earlier, given, protocol, options)


def compare_all(
    scored: dict[str, list[SubjectScores]],
    earlier: Mapping[str, tuple[list[SubjectScores], Protocol]],
    given: Mapping[str, list[SubjectScores]],
    protocol: Protocol,
    options: argparse.Namespace,
) -> None:
    """Everything in one table, written and printed. Raises OtherProtocol where it may not stand there."""
    first = next(iter(scored))
    for name, (subjects, theirs) in earlier.items():
        protocol.check_comparable(theirs, first, name)
        scored[name] = subjects
    scored |= given
    lacking = missing_subjects(scored)
    shared, notes = on_common_ground(scored)
    for note in [*lacking, *notes]:
        print(f"note: {note}")
    primary = named_in_advance(list(shared), shared[first][0].measures, options.against)
    paths = write_new_comparison(options.out, shared, protocol, primary)
    print(comparison_as_markdown(shared, protocol.encoders, found_differences(shared, primary)))
    print(f"wrote {', '.join(path.name for path in paths)} in {paths[0].parent}")


def named(words: list[str], option: str) -> dict[str, Path]:
    """ "name=path", or a path that is called like its last part, by name. Raises PicturesError."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            name = Path(word).resolve().name
            path = word
        if name in found:
            raise PicturesError(f"--{option} names {quoted(name)} twice; write NAME=PATH to tell them apart.")
        found[name] = Path(path)
    return found


def check_names(names: list[str]) -> None:
    """Raise PicturesError where two methods have one name, or a name cannot be that of a report's folder."""
    for name in names:
        if not name or not is_plain_name(name):
            raise PicturesError(f"The method {quoted(name)} needs a name that can be a folder's: write NAME=PATH.")
        if names.count(name) > 1:
            raise PicturesError(f"Two methods are called {quoted(name)}; write NAME=PATH to tell them apart.")


def source_of(
    options: argparse.Namespace, pictures: Mapping[str, list[Picture]]
) -> tuple[DataSet | Path, EncoderChoice]:
    """Where the photos of these pictures' subjects are, and the encoders that fit them."""
    if options.data is None:
        return options.photos, chosen_encoders(options, PAPER_ENCODERS)
    suite = chosen_suite(options)
    subjects = {picture.subject for found in pictures.values() for picture in found}
    only = None if needs_others(choose_measures(options.measures)) else subjects
    return read_suite(suite, only), chosen_encoders(options, suite.encoders)
