"""How good the miniature becomes over its training: judged accuracy over the sequences it has seen.

    python -m workshop.evaluation.curve runs/miniature/curve --folder runs/miniature

The first argument is a folder of exported checkpoints, each in a folder named by the sequences seen: 72000,
sequences_500000. Writes curve.md, curve.json and curve.png there. Samples and numbers are kept in --folder, so a new
checkpoint costs no more than its own samples.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ar_core.dreambench.encoders import MINIATURE_SCORERS
from ar_core.files import write_image, write_json, write_text
from ar_core.model import ARModel

from ..machine import machine
from ..making.loop import Log, timed_log
from .base_samples import KINDS_OF_PAIRS, guidance_title
from .ceilings import RECONSTRUCTIONS
from .curve_picture import curve_picture
from .effort import QUICK, Effort
from .evaluate import load_scorers
from .evaluation import measure_part
from .intervals import Numbers, interval_table
from .judge_training import judge_course, train_judges
from .setup import Setup, set_up

ALL_THREE = "class & colour & place"
PAIR = "pair right"


@dataclass(frozen=True)
class Checkpoint:
    """Exported weights, and how many sequences they have seen."""

    sequences: int
    folder: Path


def checkpoints_in(folder: Path) -> list[Checkpoint]:
    """Those in folders named by a number, in its order."""
    found = []
    for path in folder.iterdir():
        number = re.fullmatch(r"\D*(\d+)", path.name)
        if path.is_dir() and number:
            found.append(Checkpoint(int(number[1]), path))
    return sorted(found, key=lambda checkpoint: checkpoint.sequences)


def accuracies(setup: Setup) -> dict[str, Numbers]:
    """One row of the table: single subjects, and pairs of either kind, at the recipe's guidance."""
    cfg = guidance_title(setup.cfg)
    row = dict(measure_part(setup, "samples")[cfg])
    pairs = measure_part(setup, "pairs")
    for kind in KINDS_OF_PAIRS:
        row[f"{PAIR} ({kind})"] = pairs[f"{kind}, {cfg}"][PAIR]
    return row


def ceilings(setup: Setup) -> dict[str, Numbers]:
    """The same of the judges about reconstructions: what samples could reach."""
    judged = measure_part(setup, "judges")
    pair = judged["pairs"][RECONSTRUCTIONS][PAIR]
    return {**judged["single"][RECONSTRUCTIONS], **{f"{PAIR} ({kind})": pair for kind in KINDS_OF_PAIRS}}


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the process where None."""
    parser = curve_options()
    options = parser.parse_args(arguments)
    checkpoints = checkpoints_in(options.checkpoints)
    if not checkpoints:
        parser.error(f"{options.checkpoints} holds no folder named by a number of sequences")
    effort = replace(Effort(options.images, options.pairs, judge_steps=options.judge_steps), guidances=(), subjects=())
    if options.quick:
        effort = replace(QUICK, guidances=(), subjects=())
    log = timed_log()
    judges = train_judges(options.folder, judge_course(effort.judge_steps), log)
    scorers = load_scorers(MINIATURE_SCORERS)
    rows: dict[int, dict[str, Numbers]] = {}
    for checkpoint in checkpoints:
        log(f"{checkpoint.sequences:,} sequences: {checkpoint.folder}")
        sheets = options.folder / "sheets" / f"sequences_{checkpoint.sequences:08d}"
        setup = set_up(ARModel.load(checkpoint.folder), judges, scorers, effort, options.folder, sheets, log)
        rows[checkpoint.sequences] = accuracies(setup)
    write_curve(options.checkpoints, rows, ceilings(setup), effort, log)


def write_curve(
    out: Path, rows: dict[int, dict[str, Numbers]], reachable: dict[str, Numbers], effort: Effort, log: Log
) -> None:
    """Table, numbers and picture in `out`."""
    named = {f"{sequences:,} sequences": row for sequences, row in rows.items()}
    introduction = [
        "# Judged accuracy over the training",
        "",
        f"Measured by `python -m workshop.evaluation.curve` on {machine()}: {effort.images} samples of held-out "
        f"combinations and {effort.pairs} of",
        "either kind of pairs for every checkpoint, at the recipe's guidance. Reconstructions: the judges about "
        "drawings after the",
        "image tokenizer, the most that could be reached. Brackets hold 95 % intervals.",
        "",
    ]
    table = interval_table({**named, RECONSTRUCTIONS: reachable})
    write_text(out / "curve.md", "\n".join([*introduction, *table, "", "![the same as lines](curve.png)"]))
    numbers: dict[str, Any] = {"machine": machine(), "sequences": rows, RECONSTRUCTIONS: reachable}
    write_json(out / "curve.json", numbers)
    shown = [ALL_THREE, *(f"{PAIR} ({kind})" for kind in KINDS_OF_PAIRS)]
    lines = {name: [(sequences, row[name]) for sequences, row in rows.items()] for name in shown}
    highest = {ALL_THREE: reachable[ALL_THREE][0], shown[1]: reachable[shown[1]][0]}
    write_image(out / "curve.png", curve_picture(lines, highest, "Judged accuracy over the training"))
    log(f"wrote curve.md, curve.json and curve.png into {out}")


def curve_options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.curve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoints", type=Path, help="a folder of exported checkpoints named by sequences seen")
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="judges, samples and numbers")
    parser.add_argument("--images", type=int, default=250, help="samples of held-out combinations per checkpoint")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of either kind per checkpoint")
    parser.add_argument("--judge-steps", type=int, default=Effort.judge_steps)
    parser.add_argument("--quick", action="store_true", help="only try it out: tiny numbers that mean nothing")
    return parser


if __name__ == "__main__":
    main()
