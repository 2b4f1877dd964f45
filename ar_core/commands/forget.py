"""`ar-personalize forget`: delete remembered trainings, once they were listed and the user agreed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..memory import size_text
from ..training.own_folders import foreign_folders
from ..training.remembered import RememberedRun, forget_runs, remembered_runs

WHAT = {"": "photos or class pictures"}  # by stage; of trainings the stage's own name


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("runs", type=Path, help="the _runs folder beside a personalization file")
    command.add_argument("--yes", action="store_true", help="delete them without asking, as scripts must")


def run(options: argparse.Namespace) -> None:
    if not options.runs.is_dir():
        raise ValueError(f"There is no folder {options.runs}. Give the _runs folder beside a personalization file.")
    runs = remembered_runs(options.runs)
    if not runs and (options.runs / "_runs").is_dir():
        raise ValueError(f"Nothing was deleted in {options.runs}: give the folder in it, {options.runs / '_runs'}.")
    for found in runs:
        print(described(found))
    for folder in foreign_folders(options.runs):
        print(f"note: {folder.name} stays: it has a run.json, and is no remembered training of this software.")
    if runs and not options.yes and not agreed(options.runs, runs):
        print(f"Nothing was deleted in {options.runs}.")
        return
    count = forget_runs(options.runs, runs)
    print(f"deleted {count} remembered training(s) in {options.runs}")


def described(run: RememberedRun) -> str:
    """One line: name, stage, newest kept step, size, age."""
    words = [run.name, WHAT.get(run.stage, run.stage)]
    if run.step:
        words.append(f"step {run.step}")
    words += [size_text(run.size), f"{run.days:.0f} day(s) old"]
    return ", ".join(words)


def agreed(folder: Path, runs: list[RememberedRun]) -> bool:
    """Ask whether to delete `runs`; anything but yes is no. Raises ValueError where nobody can be asked."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ValueError(
            f"Nothing was deleted in {folder}: there is no terminal to ask on. Add --yes to delete what is listed."
        )
    total = size_text(sum(run.size for run in runs))
    print(f"Delete {len(runs)} remembered training(s) in {folder} ({total})? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
