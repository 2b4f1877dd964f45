"""`ar-personalize forget`: delete remembered trainings."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..training.runs import forget_runs


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("runs", type=Path, help="the _runs folder beside a personalization file")


def run(options: argparse.Namespace) -> None:
    count = forget_runs(options.runs)
    print(f"deleted {count} remembered training(s) in {options.runs}")
