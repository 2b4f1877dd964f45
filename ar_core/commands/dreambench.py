"""`python -m ar_core score` scores a folder of pictures; `python -m ar_core dreambench` makes and scores them all."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from ..control import Cancel, Progress
from ..dreambench import drawings
from ..dreambench.benchmark import Benchmark, Plan, estimate
from ..dreambench.dataset import DataSet, read_dataset
from ..dreambench.encoders import MINIATURE, PAPER, Encoders
from ..dreambench.pictures import Picture, PicturesError, find_pictures
from ..dreambench.report import as_markdown, comparison, sheet, write_comparison, write_report
from ..dreambench.scoring import SubjectScores, score_subject, table
from ..dreambench.ways import WAYS
from ..model import ARModel
from ..photos import read_photos

CHOICES = {"paper": PAPER, "miniature": MINIATURE}


def score_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--images", type=Path, required=True, help="folder of pictures, of this software or another")
    command.add_argument("--data", type=Path, help="DreamBench's `dataset` folder: photos of every subject")
    command.add_argument("--photos", type=Path, help="instead of --data: the photos of one subject")
    command.add_argument(
        "--table",
        type=Path,
        help="CSV with the columns file, subject, prompt (default: pictures.csv in the folder, else the prompts inside our PNGs, else file names)",
    )
    command.add_argument(
        "--class-images", type=Path, help="pictures of the bare class, for prior preservation (one subject only)"
    )
    encoder_options(command)
    command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    command.add_argument("--method", default="these pictures", help="what the table calls them")
    command.add_argument("--out", type=Path, default=Path("scores"))


def encoder_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--encoders",
        choices=tuple(CHOICES),
        help="paper: DINO and CLIP; miniature: the small ones that ship, for drawings (default: paper, or miniature with --data miniature)",
    )
    command.add_argument("--dino", help=f"folder or hub name of DINO ViT-S/16 (default {PAPER.vit})")
    command.add_argument("--clip", help=f"folder or hub name of CLIP ViT-B/32 (default {PAPER.clip})")


def _encoders(options: argparse.Namespace) -> Encoders:
    choice = CHOICES[options.encoders or ("miniature" if options.data == Path(drawings.NAME) else "paper")]
    choice = replace(choice, vit=options.dino or choice.vit, clip=options.clip or choice.clip)
    return Encoders.load(choice, options.device)


def run_score(options: argparse.Namespace) -> None:
    if (options.data is None) == (options.photos is None):
        raise PicturesError("Give either --data (DreamBench) or --photos (one subject).")
    data = _data(options.data) if options.data else None
    pictures = find_pictures(options.images, options.table, options.photos.name if options.photos else "")
    class_images = [photo.image for photo in read_photos(options.class_images)[0]] if options.class_images else []
    score_all(_encoders(options), pictures, data, options.photos, options.method, options.out, class_images)


def _data(folder: Path, drawn: Path | None = None) -> DataSet:
    """The data set, with what is odd about it printed; the drawn one lies in `drawn`."""
    if folder == Path(drawings.NAME) and drawn is not None:
        return drawings.read_drawings(drawn)
    data = read_dataset(folder)
    for problem in data.problems:
        print(f"note: {problem}")
    return data


def score_all(
    encoders: Encoders,
    pictures: Sequence[Picture],
    data: DataSet | None,
    photos: Path | None,
    method: str,
    out: Path,
    class_images: Sequence[Image.Image] = (),
) -> list[SubjectScores]:
    """Score every subject among `pictures` and write the report; stopped early, of the subjects that are scored."""
    found, sheets, opened = [], {}, {str(picture.path): picture for picture in pictures}
    names = sorted({picture.subject for picture in pictures})
    try:
        for name in names:
            references, kinds = _references(data, name, photos)
            own = [picture for picture in pictures if picture.subject == name]
            scored = score_subject(
                encoders,
                name,
                [picture.open() for picture in own],
                [picture.prompt for picture in own],
                references,
                files=[str(picture.path) for picture in own],
                capability=lambda prompt, kinds=kinds: kinds.get(prompt, ""),
                class_images=class_images,
            )
            found.append(scored)
            sheets[name] = sheet(scored, references, lambda picture: opened[picture.file].open())
    finally:
        if len(found) < len(names):
            print(f"Stopped: {len(found)} of {len(names)} subjects are scored.")
        if found:
            paths = write_report(out, found, encoders.names, method, sheets)
            print(as_markdown(found, table(found, method), encoders.names))
            print(f"wrote {', '.join(path.name for path in paths)} in {out}")
    return found


def _references(data: DataSet | None, name: str, photos: Path | None) -> tuple[list[Image.Image], dict[str, str]]:
    """The subject's photos, and the kind of every prompt of the data set."""
    if data is None:
        return [photo.image for photo in read_photos(photos)[0]], {}
    subject = data.subject(name)
    kinds = {prompt.plain(subject.class_name): prompt.capability for prompt in data.prompts(subject)}
    return [photo.image for photo in read_photos(list(subject.photos))[0]], kinds


def dreambench_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        type=Path,
        required=True,
        help=f'DreamBench\'s `dataset` folder, or "{drawings.NAME}": the drawn subjects in OUT/data, the strategies compared, three seeds',
    )
    ways = "; ".join(f"{name}: {way.meaning}" for name, way in WAYS.items())
    command.add_argument(
        "--strategies", help=f"comma-separated; the first is compared with the others (default two_stage). {ways}"
    )
    command.add_argument(
        "--images-per-prompt", type=int, default=1, help="1 as in the paper (750 pictures), 4 as in DreamBooth"
    )
    command.add_argument("--subjects", help="comma-separated names (default: all)")
    command.add_argument("--embedding-steps", type=int, help="default: the recipe's")
    command.add_argument("--layer-steps", type=int, help="default: the recipe's")
    command.add_argument(
        "--seeds", help="comma-separated training seeds (default 0); pictures of all are scored together"
    )
    command.add_argument(
        "--threads", type=int, help="CPU threads of each process; part of what decides the last bit of a result"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say what is missing, what it would take, and what is finished"
    )
    command.add_argument(
        "--no-scores", action="store_true", help="only train and sample; `python -m ar_core score` can follow"
    )
    encoder_options(command)
    command.add_argument("--out", type=Path, default=Path("dreambench"))


@dataclass(frozen=True)
class Outcome:
    """What a finished benchmark gave: enough to write about it."""

    data: DataSet
    plan: Plan
    scored: dict[str, list[SubjectScores]]
    encoders: dict[str, str]  # names of the encoders


def run_dreambench(options: argparse.Namespace, model: ARModel, progress: Progress, cancel: Cancel) -> Outcome | None:
    """The whole benchmark, or this process's share of it under `accelerate launch`. None where nothing was scored."""
    if options.threads:
        torch.set_num_threads(options.threads)
    drawn = options.data == Path(drawings.NAME)
    whole, plan = _data(options.data, options.out / "data"), _plan(options, drawn)
    subjects = (
        [whole.subject(name) for name in options.subjects.split(",")] if options.subjects else list(whole.subjects)
    )
    data = replace(whole, subjects=tuple(subjects))
    if options.dry_run:
        print(estimate(model, data, plan, options.out))
        return None
    encoders = None if options.no_scores else _encoders(options)  # before days of work
    share, rank, processes, wait = share_of(subjects)
    failed = Benchmark(model, data, plan, options.out, progress=progress, cancel=cancel).run(share, processes=processes)
    wait()
    for line in failed:
        print(f"FAILED {line}")
    if encoders is None or rank != 0:
        return None
    scored = {
        way: score_all(encoders, find_pictures(options.out / way), whole, None, way, options.out / "scores" / way)
        for way in plan.ways
    }
    write_comparison(options.out / "scores", scored, encoders.names)
    print(comparison(scored, encoders.names))
    return Outcome(data, plan, scored, encoders.names)


def _plan(options: argparse.Namespace, drawn: bool) -> Plan:
    """The miniature's own benchmark compares many ways with three seeds, unless asked otherwise."""
    ways = options.strategies or (",".join(drawings.COMPARED) if drawn else "two_stage")
    seeds = options.seeds or ("0,1,2" if drawn else "0")
    try:
        numbers = tuple(int(seed) for seed in seeds.split(","))
    except ValueError:
        raise ValueError(f'--seeds is "{seeds}"; write whole numbers with commas, for example 0,1,2.') from None
    training = {"embedding_steps": options.embedding_steps, "layer_steps": options.layer_steps}
    return Plan(tuple(ways.split(",")), options.images_per_prompt, numbers, training)


def share_of(subjects: list) -> tuple[list, int, int, Callable[[], None]]:
    """This process's subjects, its rank, how many processes there are, and what waits for the others."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return subjects, 0, 1, lambda: None
    from accelerate import PartialState  # only needed with several processes

    state = PartialState(
        cpu=not torch.cuda.is_available()
    )  # left to itself it does not join processes without a graphics card
    with state.split_between_processes(list(range(len(subjects)))) as mine:
        return [subjects[i] for i in mine], state.process_index, state.num_processes, state.wait_for_everyone
