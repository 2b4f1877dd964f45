"""`ar-personalize score`: score a folder of pictures as DreamBench does."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from ..devices import default_device
from ..dreambench.dataset import DataSet
from ..dreambench.encoders import PAPER_ENCODERS
from ..dreambench.measures.registry import choose_measures
from ..dreambench.pictures import PicturesError, find_pictures_to_score
from .scoring import chosen_suite, encoder_options, load_encoders, read_pictures, read_suite, score_all, suite_options


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--images", type=Path, required=True, help="folder of pictures, of this software or another")
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
    command.add_argument("--method", default="these pictures", help="what the table calls them")
    command.add_argument("--out", type=Path, default=Path("scores"), help="folder for the report")


def run(options: argparse.Namespace) -> None:
    if (options.data is None) == (options.photos is None):
        raise PicturesError("Give either --data (DreamBench) or --photos (one subject).")
    subject = ""
    encoders = PAPER_ENCODERS
    source: DataSet | Path
    if options.data is None:
        source = options.photos
        subject = options.photos.resolve().name
    else:
        suite = chosen_suite(options)
        source = read_suite(suite)
        encoders = suite.encoders
    pictures = find_pictures_to_score(options.images, options.table, subject)
    class_images: list[Image.Image] = []
    if options.class_images:
        class_images = read_pictures(options.class_images)
    measures = choose_measures(options.measures)
    loaded = load_encoders(options, encoders)
    score_all(loaded, pictures, source, options.method, options.out, class_images, measures=measures)
