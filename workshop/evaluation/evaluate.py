"""Measures the miniature and writes its model card.

    python -m workshop.evaluation.evaluate --folder runs/miniature
    python -m workshop.evaluation.evaluate --folder runs/miniature --compare runs/first_edition

Five parts: the judges themselves, reconstruction, samples of held-out combinations, samples of two subjects,
personalization of unseen subjects. With --compare the same judges measure another edition too, and the card holds both
side by side. Trainings, sampled codes and each part's numbers are kept in the folder, so a stopped evaluation goes on;
what another model, recipe, judge or effort gave is never taken for the present one's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ar_core.dreambench.encoders import MINIATURE_ENCODERS, MINIATURE_SCORERS, Encoders
from ar_core.model import MINIATURE_FOLDER, ARModel

from ..making.loop import timed_log
from ..making.place import Place
from ..world.subjects import SUBJECTS
from .editions import Edition
from .editions_sheet import write_editions_sheet
from .effort import QUICK, SPREAD, Effort
from .evaluation import evaluate
from .judge_training import judge_course, train_judges
from .model_card import write_card
from .setup import set_up

NEWER = "second edition"
OLDER = "first edition"


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the process where None."""
    parser = evaluation_options()
    options = parser.parse_args(arguments)
    effort = effort_of(parser, options)
    folder = options.folder
    out = options.out or options.model
    if options.quick:
        folder = Path(tempfile.mkdtemp(prefix="miniature-"))
        out = options.out or folder
    sheets = options.sheets or folder / "sheets"
    log = timed_log()
    place = Place(torch.device(options.device))
    judges = train_judges(folder, judge_course(effort.judge_steps, place, options.workers), log)
    scorers = load_scorers(options.scorers)
    models = {NEWER: options.model}
    if options.compare:
        models[OLDER] = options.compare
    editions = []
    for name, weights in models.items():
        log(f"the {name}: {weights}")
        model = ARModel.load(weights, device=options.device)
        setup = set_up(model, judges, scorers, effort, folder, sheets / name.replace(" ", "_"), log)
        editions.append(Edition(name, setup, evaluate(setup)))
    write_card(out, options.folder, editions)
    if effort.subjects:
        write_editions_sheet(sheets / "editions.png", editions)
    log(f"wrote {out / 'table.json'} and {out / 'MODEL_CARD.md'}; sheets lie in {sheets}")


def load_scorers(folder: Path) -> Encoders:
    """The miniature's scorers as `scorer_training` exports them."""
    return Encoders.load(replace(MINIATURE_ENCODERS, vit=folder / "identity", clip=folder / "pairs"))


def effort_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Effort:
    """How much the options ask for."""
    if options.quick:
        return QUICK
    subjects = names_of_subjects(parser, options.subjects)
    return Effort(
        images=options.images,
        pairs=options.pairs,
        guidances=tuple(options.guidances),
        judge_steps=options.judge_steps,
        subjects=subjects,
        spread=tuple(name for name in names_of_subjects(parser, options.spread) if name in subjects),
        seeds=tuple(range(options.seeds)),
    )


def names_of_subjects(parser: argparse.ArgumentParser, text: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in SUBJECTS:
            parser.error(f"there is no unseen subject {name}; choose from {', '.join(SUBJECTS)}")
    return names


def evaluation_options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/miniature"), help="judges, trainings, samples and numbers"
    )
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--compare", type=Path, help="weights of the edition before, measured by the same judges")
    parser.add_argument("--scorers", default=MINIATURE_SCORERS, type=Path, help="a folder with identity/ and pairs/")
    parser.add_argument("--out", type=Path, help="where table.json and MODEL_CARD.md go (default: beside the model)")
    parser.add_argument("--sheets", type=Path, help="where the contact sheets go (default: FOLDER/sheets)")
    parser.add_argument("--images", type=int, default=Effort.images, help="held-out scenes, and samples")
    parser.add_argument("--pairs", type=int, default=Effort.pairs, help="pairs of either kind, and samples")
    parser.add_argument("--guidances", type=float, nargs="+", default=Effort.guidances, help="beside the recipe's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that make the judges' lessons")
    parser.add_argument("--judge-steps", type=int, default=Effort.judge_steps)
    parser.add_argument(
        "--seeds", type=int, default=len(Effort.seeds), help="training seeds of the subjects in --spread"
    )
    parser.add_argument(
        "--subjects",
        default=",".join(SUBJECTS),
        help="comma-separated (default: all); empty leaves personalization out",
    )
    parser.add_argument(
        "--spread", default=",".join(SPREAD), help="those trained with every seed (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only try it out: tiny numbers that mean nothing, in a temporary folder"
    )
    return parser


if __name__ == "__main__":
    main()
