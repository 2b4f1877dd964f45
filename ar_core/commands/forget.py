"""`ar-personalize forget`: delete remembered trainings."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..training.remembered import forget_runs


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("runs", type=Path, help="the _runs folder beside a personalization file")


def run(options: argparse.Namespace) -> None:
    if not options.runs.is_dir():
        raise ValueError(f"There is no folder {options.runs}. Give the _runs folder beside a personalization file.")
    count = forget_runs(options.runs)
    if count == 0 and (options.runs / "_runs").is_dir():
        raise ValueError(f"Nothing was deleted in {options.runs}: give the folder in it, {options.runs / '_runs'}.")
    print(f"deleted {count} remembered training(s) in {options.runs}")
