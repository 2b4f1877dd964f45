"""`ar-personalize dreambench`: learn, draw and score every subject of a data set."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from ..control import Cancel, Progress
from ..dreambench.benchmark import Benchmark, Plan, check_named_once
from ..dreambench.common_ground import missing_subjects, on_common_ground
from ..dreambench.comparison_report import (
    COMPARISON_FILES,
    comparison_as_markdown,
    found_differences,
    write_comparison,
)
from ..dreambench.comparisons import Comparison, Scored, named_in_advance
from ..dreambench.dataset import DataSet
from ..dreambench.encoders import EncoderError, Encoders
from ..dreambench.estimate import check_room, estimate_dreambench
from ..dreambench.extents import EXTENTS, FULL
from ..dreambench.measures.registry import choose_measures, needs_others
from ..dreambench.processes import ALONE, Processes, join_processes
from ..dreambench.protocol import Protocol
from ..dreambench.scoring import SubjectScores
from ..dreambench.suites import Suite
from ..dreambench.variants import VARIANTS
from ..families.family import Family
from ..files import UnreadableFile, ensure_folder, json_text, numbered_paths, read_text, write_text
from ..model import ARModel
from ..quoting import quoted
from ..sampling import SamplingSettings
from ..training import TrainingSettings
from ..training.best_step import BEST, LAST
from ..training.sample_prompts import SELECTION_PROMPTS
from ..training.settings import WITH_MASKS
from ..training.stages import check_depth
from ..training.templates import read_templates
from .interruption import Interruption
from .options import add_settings, chosen_settings
from .scoring import (
    Scorer,
    chosen_encoders,
    chosen_suite,
    encoder_options,
    gallery,
    load_encoders,
    protocol_of,
    read_suite,
    score_all,
    suite_options,
)
from .selection import chosen_select, select_option
from .settings_file import settings_of, settings_option
from .shared import (
    Bar,
    check_rank,
    check_temperature,
    load_model_from_options,
    model_options,
    note_recipe_top_k,
    note_size,
)

BY_PLAN = ("strategy", "method", "seed")  # settings that the variants and --seeds decide
NOT_ASKED = (*BY_PLAN, *WITH_MASKS)  # and those of masks, which a benchmark does not look for
SETTINGS = "settings.json"
NOT_REPEATED = ("run", "verbose", "settings", "dry_run", "out", "device", "page")  # no part of what was asked for


def add_options(command: argparse.ArgumentParser) -> None:
    settings_option(command)
    model_options(command)
    suite_options(command, required=True)
    listed = "; ".join(f"{name}: {variant.meaning}" for name, variant in VARIANTS.items())
    command.add_argument(
        "--strategies",
        help="comma-separated; the first is compared with the others (default two_stage, or all that the miniature's "
        f"page compares). {listed}",
    )
    command.add_argument(
        "--against",
        metavar="STRATEGY",
        help="the one that the first is compared with above all, named before anything is scored (default: the one "
        "that is listed second)",
    )
    command.add_argument(
        "--extent",
        choices=tuple(EXTENTS),
        default=FULL,
        help="; ".join(f"{name}: {extent.meaning}" for name, extent in EXTENTS.items()) + " (default: %(default)s)",
    )
    command.add_argument("--images-per-prompt", type=int, help="default: the extent's")
    command.add_argument("--subjects", help="comma-separated names (default: the extent's)")
    command.add_argument(
        "--seeds",
        help="comma-separated training seeds, of every subject (default 0; for the miniature three of four subjects, "
        "and one of the others); pictures of all are scored together",
    )
    add_settings(command, TrainingSettings, NOT_ASKED)
    add_settings(command, SamplingSettings, BY_PLAN)
    select_option(command)
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
    processes = join_processes()
    failed: list[str] = []
    run_benchmark(options, load_model_from_options(options), Bar(), Interruption(), failed, processes)
    processes.wait_for_others()  # a process that ends with an error ends those that are still scoring
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
    protocol: Protocol
    primary: Comparison | None


Questions = Callable[[Scored], Sequence[Comparison]]  # what is asked of a table beside the first variant's differences


def no_questions(scored: Scored) -> Sequence[Comparison]:
    """Nothing more."""
    return ()


def run_benchmark(
    options: argparse.Namespace,
    model: ARModel,
    progress: Progress,
    cancel: Cancel,
    failed: list[str] | None = None,
    processes: Processes = ALONE,
    questions: Questions = no_questions,
) -> Outcome | None:
    """The whole benchmark, or this process's share of it. None where nothing was scored.

    `failed` gets a line for each unit that failed. `questions`: comparisons that are corrected with the others.
    """
    set_threads(options.threads)
    suite = chosen_suite(options)
    EXTENTS[options.extent].check(suite)
    plan = chosen_plan(options, suite, model)
    check_training(plan, model)
    note_fixed(plan, model.family)
    primary = chosen_primary(options, plan, chosen_encoders(options, suite.encoders).measures)
    note_size(model.family, options.size)
    note_recipe_top_k(options, model.family.recipe.top_k)
    data = EXTENTS[options.extent].prompts_of(read_suite(suite, chosen_subjects(options)))
    if options.dry_run:
        print(f"recipe: {options.recipe}")
        if not options.no_scores:
            print_missing_encoders(options, suite)
        print(estimate_dreambench(model, data, plan, options.out, encoders_for(options, suite, plan.select == BEST)))
        return None
    scores = not options.no_scores and processes.rank == 0
    encoders = encoders_for(options, suite, scores or plan.select == BEST)
    bench = Benchmark(model, data, plan, options.out, progress=progress, cancel=cancel, encoders=encoders)
    bench.check_records()
    if bench.left():
        check_room(bench)
    if processes.rank == 0:
        keep_settings(options)
    problems = bench.run(processes.share(data.subjects), processes=processes.count)
    processes.wait_for_others()
    for line in problems:
        print(f"FAILED {line}")
    if failed is not None:
        failed += problems
    if encoders is None or not scores:
        return None
    source = data
    measures = choose_measures(options.measures)
    if needs_others(measures):
        source = EXTENTS[options.extent].prompts_of(read_suite(suite))
    scorer = Scorer(encoders, source, measures, gallery(encoders, source, measures), several_trainings=True)
    return score_benchmark(bench, scorer, primary, questions)


def encoders_for(options: argparse.Namespace, suite: Suite, needed: bool) -> Encoders | None:
    """Those that score and choose steps, where any are needed. Raises EncoderError, before days of work."""
    if not needed:
        return None
    return load_encoders(options, chosen_encoders(options, suite.encoders))


def score_benchmark(
    bench: Benchmark, scorer: Scorer, primary: Comparison | None, questions: Questions
) -> Outcome | None:
    """Score what the plan asked for and is done, and write the tables. None where there is nothing.

    What is not done is said, and so is a comparison that was named in advance and cannot be made.
    """
    scored = {}
    folder = bench.out / "scores"
    for variant in bench.plan.variants:
        pictures = bench.pictures(variant)
        if pictures:
            title = variant + how_selected(bench.plan, variant)
            scored[variant] = score_all(scorer, pictures, title, folder / variant, replace=True, cancel=bench.cancel)
        else:
            print(f"{variant} is left out of the scores: no subject was learned and drawn.")
    if not scored:
        return None
    shared, left_out = on_common_ground(scored, by_seed=True)
    notes = [*bench.not_done(), *missing_subjects(scored), *left_out, *selection_notes(bench.plan)]
    if primary is not None and not {primary.more, primary.less} <= set(shared):
        notes.append(f"the comparison that was named in advance ({primary}) cannot be made.")
        primary = None
    protocol = protocol_of(scorer.encoders, next(iter(shared.values())), scorer.gallery)
    asked = questions(shared)
    write_comparison(folder, shared, protocol, primary, asked, notes)
    print(comparison_as_markdown(shared, protocol.names, found_differences(shared, primary, asked), notes))
    print(f"wrote {', '.join(COMPARISON_FILES)} in {folder}, of this run's plan; what else lies there is of others.")
    return Outcome(bench.data, bench.plan, shared, protocol, primary)


def how_selected(plan: Plan, variant: str) -> str:
    """What a table says behind a variant's name of the steps that were taken; "" of the last ones."""
    select = plan.select_of(variant)
    if select == LAST or VARIANTS[variant].strategy is None:
        return ""
    if select == BEST:
        return ", selected by the reported measure"
    return f", step {select}"


def selection_notes(plan: Plan) -> list[str]:
    """What has to be known of a table whose steps are not the last ones."""
    if plan.select == LAST:
        return []
    if plan.select != BEST:
        return [f"step {plan.select} of every training was used, chosen by hand."]
    notes = [
        "every training's step was selected by the reported measure: by the encoders that score this table, on "
        f"{len(SELECTION_PROMPTS)} prompts and a seed that are not in it. Do not compare with numbers of last steps."
    ]
    for variant in plan.variants:
        if plan.select_of(variant) == LAST:
            notes.append(f"{variant} has its last steps: its pictures are not those by which a step would be chosen.")
    return notes


def keep_settings(options: argparse.Namespace) -> None:
    """What was asked for, beside the results; another file of that name stays. Raises OSError."""
    text = json_text(settings_of(options, NOT_REPEATED), indent=1)
    ensure_folder(options.out)
    for path in numbered_paths(options.out / SETTINGS):
        if not os.path.lexists(path):
            write_text(path, text)
            return
        with suppress(UnreadableFile):  # somebody's own
            if path.is_file() and read_text(path).strip() == text.strip():
                return


def set_threads(count: int | None) -> None:
    """Use so many CPU threads, or as many as there are. Raises ValueError."""
    if count is None:
        return
    most = os.cpu_count() or 1
    if not 1 <= count <= most:
        raise ValueError(f"--threads is {count}; it must be from 1 to {most}, this machine's processors.")
    torch.set_num_threads(count)


def chosen_subjects(options: argparse.Namespace) -> tuple[str, ...] | None:
    """The names that were given, else the extent's; None for all. Raises ValueError."""
    if options.subjects is None:
        return EXTENTS[options.extent].subjects
    names = names_in(options.subjects, "subjects")
    check_named_once("subjects", names)
    return names


def names_in(text: str, option: str) -> tuple[str, ...]:
    """The names in a list with commas. Raises ValueError where there is none."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError(f"--{option} is {quoted(text)}; write names with commas between them, or leave it out.")
    return names


def seed_in(text: str) -> int:
    """A training seed. Raises ValueError."""
    if not text.isascii() or not text.isdecimal() or int(text) >= 2**63:
        raise ValueError(f"--seeds has {quoted(text)}; write whole numbers from 0 on with commas, for example 0,1,2.")
    return int(text)


def print_missing_encoders(options: argparse.Namespace, suite: Suite) -> None:
    """What a run would stop at."""
    try:
        load_encoders(options, chosen_encoders(options, suite.encoders))
    except EncoderError as error:
        print(f"missing: {error}")


def check_training(plan: Plan, model: ARModel) -> None:
    """Raise ValueError for training settings that cannot be, also where no strategy takes them as they are."""
    # The strategy that every setting can be meant for.
    TrainingSettings.resolve(model.family, strategy="deep", **{**plan.training, "image_concept": True})
    for variant in plan.variants:
        settings = VARIANTS[variant].settings(model.family, plan.seeds[0], plan.training)
        if settings is not None and settings.is_deep:
            check_depth(model, settings.depth)


def note_fixed(plan: Plan, family: Family) -> None:
    """Say so where strategies are about a setting, and have another value of it than was given."""
    lines = []
    for variant in plan.variants:
        own = VARIANTS[variant].other_values(family, plan.training)
        lines += [f"{variant} has {name} {value}" for name, value in own.items()]
    if lines:
        print(f"note: what was given is not for all strategies: {', '.join(lines)}.")


def chosen_primary(options: argparse.Namespace, plan: Plan, measures: Sequence[str]) -> Comparison | None:
    """The comparison that the benchmark is about; None of a single strategy. Raises ValueError."""
    others = plan.variants[1:]
    if options.against is not None and options.against not in others:
        raise ValueError(
            f"--against is {quoted(options.against)}; it must be one of the strategies beside the first: "
            f"{', '.join(others) or 'there is none'}."
        )
    return named_in_advance(plan.variants, measures, options.against)


def chosen_plan(options: argparse.Namespace, suite: Suite, model: ARModel) -> Plan:
    """What the options ask for, else what the suite compares. Raises ValueError."""
    variants = suite.variants
    if options.strategies is not None:
        variants = names_in(options.strategies, "strategies")
    seeds = suite.seeds
    spread = suite.spread
    if options.seeds is not None:
        spread = None
        seeds = tuple(map(seed_in, names_in(options.seeds, "seeds")))
    images = options.images_per_prompt
    if images is None:
        images = EXTENTS[options.extent].images_per_prompt
    check_rank(options, model)
    check_temperature(options)
    training = chosen_settings(options, TrainingSettings, NOT_ASKED)
    if options.templates is not None:
        size = model.family.recipe.learned_size
        training["templates"] = read_templates(options.templates, model.protocol, size)
    sampling = chosen_settings(options, SamplingSettings, BY_PLAN)
    return Plan(variants, images, seeds, training, sampling, spread, chosen_select(options))
