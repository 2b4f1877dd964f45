"""`ar-personalize dreambench`: learn, draw and score every subject of a data set."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..control import Cancel, Progress
from ..dreambench.benchmark import Benchmark, Plan, check_named_once
from ..dreambench.dataset import DataSet
from ..dreambench.encoders import EncoderError
from ..dreambench.estimate import check_memory, estimate_dreambench
from ..dreambench.measures.registry import choose_measures
from ..dreambench.processes import share_of_subjects
from ..dreambench.report import comparison_as_markdown, write_benchmark_tables
from ..dreambench.scoring import SubjectScores
from ..dreambench.suites import Suite
from ..dreambench.variants import VARIANTS
from ..model import ARModel
from ..quoting import quoted
from .interruption import Interruption
from .scoring import chosen_suite, encoder_options, load_encoders, read_suite, score_all, suite_options
from .shared import Bar, load_model_from_options, model_options


def add_options(command: argparse.ArgumentParser) -> None:
    model_options(command)
    suite_options(command, required=True)
    listed = "; ".join(f"{name}: {variant.meaning}" for name, variant in VARIANTS.items())
    command.add_argument(
        "--strategies",
        help="comma-separated; the first is compared with the others (default two_stage, or all that the miniature's "
        f"page compares). {listed}",
    )
    command.add_argument(
        "--images-per-prompt",
        type=int,
        default=1,
        help="1: 750 pictures, as many as are reported for the paper; 4 as in DreamBooth",
    )
    command.add_argument("--subjects", help="comma-separated names (default: all)")
    command.add_argument("--embedding-steps", type=int, help="default: the recipe's")
    command.add_argument("--layer-steps", type=int, help="default: the recipe's")
    command.add_argument(
        "--seeds",
        help="comma-separated training seeds (default 0, or three for the miniature); pictures of all are scored "
        "together",
    )
    command.add_argument(
        "--threads", type=int, help="CPU threads of each process; part of what decides the last bit of a result"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say what is missing, what it would take, and what is finished"
    )
    command.add_argument(
        "--no-scores", action="store_true", help="only train and sample; the command `score` can follow"
    )
    encoder_options(command)
    command.add_argument("--out", type=Path, default=Path("dreambench"), help="folder for pictures and scores")


def run(options: argparse.Namespace) -> None:
    failed: list[str] = []
    run_benchmark(options, load_model_from_options(options), Bar(), Interruption(), failed)
    if failed:
        raise BenchmarkIncomplete(
            f"{len(failed)} of this process's units failed (the lines that begin with FAILED say why); the same "
            "command tries them again."
        )


class BenchmarkIncomplete(RuntimeError):
    """Units failed; the others are done."""


@dataclass(frozen=True)
class Outcome:
    """What a finished benchmark gave: enough to write about it."""

    data: DataSet
    plan: Plan
    scored: dict[str, list[SubjectScores]]  # by variant
    encoders: dict[str, str]  # names of the encoders


def run_benchmark(
    options: argparse.Namespace,
    model: ARModel,
    progress: Progress,
    cancel: Cancel,
    failed: list[str] | None = None,
) -> Outcome | None:
    """The whole benchmark, or this process's share of it under `accelerate launch`. None where nothing was scored.

    `failed` gets a line for each unit that failed.
    """
    if options.threads is not None:
        most = os.cpu_count() or 1
        if not 1 <= options.threads <= most:
            raise ValueError(f"--threads is {options.threads}; it must be from 1 to {most}, this machine's processors.")
        torch.set_num_threads(options.threads)
    suite = chosen_suite(options)
    whole = read_suite(suite)
    plan = chosen_plan(options, suite)
    data = whole
    if options.subjects:
        names = options.subjects.split(",")
        check_named_once("subjects", names)
        data = replace(whole, subjects=tuple(whole.subject(name) for name in names))
    if options.dry_run:
        print(f"recipe: {options.recipe}")
        print(estimate_dreambench(model, data, plan, options.out))
        if not options.no_scores:
            print_missing_encoders(options, suite)
        return None
    encoders = None
    if not options.no_scores:
        encoders = load_encoders(options, suite.encoders)  # a missing one is said before days of work
    share = share_of_subjects(data.subjects)
    bench = Benchmark(model, data, plan, options.out, progress=progress, cancel=cancel)
    if bench.unfinished():
        check_memory(bench)  # before days of work
    problems = bench.run(share.subjects, processes=share.processes)
    share.wait_for_others()
    for line in problems:
        print(f"FAILED {line}")
    if failed is not None:
        failed += problems
    if encoders is None or share.rank != 0:
        return None
    scored = {}
    for variant in plan.variants:
        pictures = bench.pictures(variant)
        if pictures:
            measures = choose_measures(options.measures)
            place = options.out / "scores" / variant
            scored[variant] = score_all(encoders, pictures, whole, variant, place, measures=measures, replace=True)
        else:
            print(f"{variant} is left out of the scores: no subject was learned and drawn.")
    if not scored:
        return None
    write_benchmark_tables(options.out / "scores", scored, encoders.names)
    print(comparison_as_markdown(scored, encoders.names))
    return Outcome(data, plan, scored, encoders.names)


def print_missing_encoders(options: argparse.Namespace, suite: Suite) -> None:
    """What a run would stop at."""
    try:
        load_encoders(options, suite.encoders)
    except EncoderError as error:
        print(f"missing: {error}")


def chosen_plan(options: argparse.Namespace, suite: Suite) -> Plan:
    """What the options ask for, else what the suite compares. Raises ValueError."""
    variants = suite.variants
    if options.strategies:
        variants = tuple(options.strategies.split(","))
    seeds = suite.seeds
    if options.seeds:
        try:
            seeds = tuple(int(seed) for seed in options.seeds.split(","))
        except ValueError:
            raise ValueError(
                f"--seeds is {quoted(options.seeds)}; write whole numbers with commas, for example 0,1,2."
            ) from None
    training = {"embedding_steps": options.embedding_steps, "layer_steps": options.layer_steps}
    return Plan(variants, options.images_per_prompt, seeds, training)
