"""`python -m ar_core forget`: delete remembered trainings."""

from __future__ import annotations

import argparse

from ..training.runs import forget


def run_forget(options: argparse.Namespace) -> None:
    print(f"deleted {forget(options.runs)} remembered training(s) in {options.runs}")
