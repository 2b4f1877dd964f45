"""Measures the recipe's number of layer steps, on subjects that no table reports.

    python -m workshop.evaluation.choose_steps --strategy two_stage --method lora --steps 20 40 60 80 100

Trainings are remembered: every number of steps is a point of one training, and a longer list goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ar_core.files import write_json
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.tables import markdown_row, markdown_table
from ar_core.training.settings import METHODS

from ..world.subjects import TUNING
from .evaluation import MEASURES, Effort, Evaluation
from .judges import train_judges


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.choose_steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="judges, trainings, samples")
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--strategy", choices=("two_stage", "joint"), default="two_stage")
    parser.add_argument("--method", choices=METHODS, default="lora")
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 40, 60, 80, 100])
    parser.add_argument("--seeds", type=int, default=2, help="training seeds per subject")
    parser.add_argument("--judge-steps", type=int, default=Effort.judge_steps)
    arguments = parser.parse_args()
    model = ARModel.load(arguments.model)
    judges = train_judges(arguments.folder, arguments.judge_steps)
    for line in markdown_table([f"{arguments.strategy}, {arguments.method}: steps", *MEASURES], []):
        print(line)
    for steps in arguments.steps:
        effort = Effort(
            subjects=tuple(TUNING),
            seeds=tuple(range(arguments.seeds)),
            training={"layer_steps": steps, "method": arguments.method},
        )
        sheets = arguments.folder / "sheets" / f"{arguments.strategy}_{arguments.method}_{steps:03d}_steps"
        evaluation = Evaluation(model, *judges, effort, arguments.folder, sheets, lambda line: None)
        found = evaluation.personalization((arguments.strategy,))[arguments.strategy]
        write_json(evaluation.sheets / "numbers.json", found)
        rates = [f"{found['all'][measure][0]:.2f}" for measure in MEASURES]
        print(markdown_row([str(steps), *rates]), flush=True)


if __name__ == "__main__":
    main()
