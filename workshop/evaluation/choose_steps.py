"""Measures the recipe's number of layer steps, on subjects that no table reports.

    python -m workshop.evaluation.choose_steps --strategy two_stage --method lora --steps 20 40 60 80 100

Trainings are remembered: every number of steps is a point of one training, and a longer list goes on from there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ar_core.dreambench.encoders import MINIATURE_SCORERS
from ar_core.files import write_json
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.tables import markdown_row, markdown_table
from ar_core.training.settings import METHODS

from ..world.subjects import TUNING
from .effort import Effort
from .evaluate import load_scorers
from .intervals import interval_text
from .judge_training import judge_course, train_judges
from .personalization import personalization
from .setup import set_up
from .summaries import MEASURES


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the process where None."""
    options = steps_options().parse_args(arguments)
    model = ARModel.load(options.model)
    judges = train_judges(options.folder, judge_course(options.judge_steps))
    scorers = load_scorers(options.scorers)
    for line in markdown_table([f"{options.strategy}, {options.method}: steps", *MEASURES], []):
        print(line)
    for steps in options.steps:
        effort = tuning_effort(options, steps)
        sheets = options.folder / "sheets" / f"{options.strategy}_{options.method}_{steps:03d}_steps"
        setup = set_up(model, judges, scorers, effort, options.folder, sheets, log=lambda line: None)
        found = personalization(setup, (options.strategy,))[options.strategy]
        write_json(sheets / "numbers.json", found)
        rates = [interval_text(found["all"][measure]) for measure in MEASURES]
        print(markdown_row([str(steps), *rates]), flush=True)


def tuning_effort(options: argparse.Namespace, steps: int) -> Effort:
    """The tuning subjects, every one with every seed, trained for so many layer steps."""
    subjects = tuple(name for name in options.subjects.split(",") if name)
    return Effort(
        judge_steps=options.judge_steps,
        subjects=subjects,
        spread=subjects,
        seeds=tuple(range(options.seeds)),
        training={"layer_steps": steps, "method": options.method},
    )


def steps_options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.choose_steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="judges, trainings, samples")
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--scorers", default=MINIATURE_SCORERS, type=Path, help="a folder with identity/ and pairs/")
    parser.add_argument("--strategy", choices=("two_stage", "joint"), default="two_stage")
    parser.add_argument("--method", choices=METHODS, default="lora")
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 40, 60, 80, 100])
    parser.add_argument("--subjects", default=",".join(TUNING), help="of the tuning subjects (default: all)")
    parser.add_argument("--seeds", type=int, default=1, help="training seeds per subject")
    parser.add_argument("--judge-steps", type=int, default=Effort.judge_steps)
    return parser


if __name__ == "__main__":
    main()
