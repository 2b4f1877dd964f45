"""Measures the miniature and writes its model card.

    python -m workshop.evaluation.evaluate --folder runs/miniature

Four parts: the judges themselves, reconstruction, samples of held-out combinations, personalization of unseen
subjects. Trainings, sampled codes and each part's numbers are kept in the folder, so a stopped evaluation goes on;
what another model, recipe, judge or effort gave is never taken for the present one's.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ar_core.model import MINIATURE_FOLDER, ARModel

from ..making.loop import timed_log
from ..world.subjects import SUBJECTS
from .evaluation import Effort, Evaluation
from .judges import train_judges
from .model_card import write_card

QUICK = Effort(16, 20, 4, ("purple_mug", "cream_cat"), (0,), 2, {"embedding_steps": 2, "layer_steps": 2})


def main() -> None:
    parser = evaluation_options()
    arguments = parser.parse_args()
    folder = arguments.folder
    out = arguments.out or arguments.model
    if arguments.quick:
        effort = QUICK
        folder = Path(tempfile.mkdtemp(prefix="miniature-"))
        out = arguments.out or folder
    else:
        subjects = tuple(name for name in arguments.subjects.split(",") if name)
        for name in subjects:
            if name not in SUBJECTS:
                parser.error(f"there is no unseen subject {name}; choose from {', '.join(SUBJECTS)}")
        seeds = tuple(range(arguments.seeds))
        effort = Effort(arguments.images, arguments.judge_steps, subjects=subjects, seeds=seeds)
    log = timed_log()
    model = ARModel.load(arguments.model)
    attributes, identity = train_judges(folder, effort.judge_steps, log=log)
    evaluation = Evaluation(model, attributes, identity, effort, folder, arguments.sheets or folder / "sheets", log)
    table = evaluation.run()
    write_card(out, arguments.folder, model, effort, table)
    log(f"wrote {out / 'table.json'} and {out / 'MODEL_CARD.md'}; sheets lie in {evaluation.sheets}")


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
    parser.add_argument("--out", type=Path, help="where table.json and MODEL_CARD.md go (default: beside the model)")
    parser.add_argument("--sheets", type=Path, help="where the contact sheets go (default: FOLDER/sheets)")
    parser.add_argument("--images", type=int, default=Effort.images, help="held-out scenes, and samples")
    parser.add_argument("--judge-steps", type=int, default=Effort.judge_steps)
    parser.add_argument("--seeds", type=int, default=len(Effort.seeds), help="training seeds per subject")
    parser.add_argument(
        "--subjects",
        default=",".join(SUBJECTS),
        help="comma-separated (default: all); empty leaves personalization out",
    )
    parser.add_argument(
        "--quick", action="store_true", help="only try it out: tiny numbers that mean nothing, in a temporary folder"
    )
    return parser


if __name__ == "__main__":
    main()
