"""The miniature's own DreamBench and the page about it: tables, the paper's claims, contact sheets.

    python -m workshop.evaluation.bench_page --out dreambench --page docs/miniature_dreambench.md

Compares the variants on the drawn subjects, some of them with three training seeds, and scores the pictures; stops and
goes on.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from ar_core.commands.dreambench import Outcome, add_options, run_benchmark
from ar_core.commands.interruption import Interruption, keyboard_interrupts
from ar_core.commands.settings_file import with_settings
from ar_core.commands.shared import Bar, load_model_from_options
from ar_core.control import Cancel, Progress
from ar_core.dreambench.benchmark import RUNS, Plan
from ar_core.dreambench.comparison_report import comparison_as_markdown, finding_fields, found_differences
from ar_core.dreambench.comparisons import Findings, Scored
from ar_core.dreambench.dataset import BenchSubject, DataSet
from ar_core.dreambench.over_subjects import scores_over_subjects
from ar_core.dreambench.processes import join_processes
from ar_core.dreambench.statistics import NAN, number_text
from ar_core.dreambench.suites import DRAWINGS, drawn_suite
from ar_core.dreambench.variants import VARIANTS
from ar_core.files import write_image, write_json, write_text
from ar_core.model import ARModel
from ar_core.sheets import loss_curves, picture_grid
from ar_core.tables import markdown_table
from ar_core.training import TrainingSettings

from ..machine import machine
from . import single_photo
from .claims import PRIMARY, answerable_claims, claimed_comparisons, comparison_of, verdict_on_claim

CELL = 112  # pixels
Falls = Mapping[str, Mapping[str, single_photo.Fall]]  # by subject and kind of training


def write_page(
    page: Path, model: ARModel, outcome: Outcome, options: argparse.Namespace, progress: Progress, cancel: Cancel
) -> None:
    """Write `page`, the same as JSON beside it, and pictures into a folder of its name."""
    out = options.out
    data = outcome.data
    plan = outcome.plan
    scored = outcome.scored
    sheets = page.with_suffix("")
    sheets.mkdir(parents=True, exist_ok=True)
    chosen = (data.subjects[0], data.subjects[-1])  # one that captions could name, one that they could not
    steps = single_steps(model, plan)
    losses = single_photo.single_photo_losses(model, chosen, steps, out / RUNS, progress, cancel)
    write_image(sheets / "single_photo.png", loss_curves(losses[chosen[0].name]))
    falls = {
        name: {kind: single_photo.fall_of_losses(values) for kind, values in kinds.items()}
        for name, kinds in losses.items()
    }
    findings = found_differences(scored, outcome.primary, claimed_comparisons(scored))
    lines = [
        *page_introduction(model, data, plan, command_text(options)),
        "",
        comparison_as_markdown(scored, outcome.protocol.names, findings),
        "",
        *seeds_section(scored),
        *claims_section(scored, findings),
        "",
        *single_section(falls, steps, sheets.name),
        "",
        "## Contact sheets",
        "",
    ]
    for subject in data.subjects:
        name = f"{subject.name}.jpg"
        write_image(sheets / name, contact_sheet(data, subject, plan, out), quality=88)
        lines += [f"### {subject.name}", f"![{subject.name}: a row for every variant]({sheets.name}/{name})", ""]
    write_json(page.with_suffix(".json"), page_as_json(model, outcome, findings, falls))
    write_text(page, "\n".join(lines).rstrip())


def page_as_json(model: ARModel, outcome: Outcome, findings: Findings, falls: Falls) -> dict[str, object]:
    """The page's numbers."""
    scored = outcome.scored
    claims = []
    for claim in answerable_claims(scored):
        finding = findings[comparison_of(scored, claim)]
        claims.append({**asdict(claim), **finding_fields(finding), "verdict": verdict_on_claim(finding)})
    return {
        "machine": machine(),
        "model": model.fingerprint,
        "protocol": outcome.protocol.describe(),
        "seeds": outcome.plan.seeds,
        "variants": {variant: scores_over_subjects(results) for variant, results in scored.items()},
        "claims": claims,
        "single photo": {name: {kind: asdict(value) for kind, value in kinds.items()} for name, kinds in falls.items()},
    }


def single_steps(model: ARModel, plan: Plan) -> int:
    """Twice stage 1's own, to see the loss stay."""
    return 2 * (plan.training.get("embedding_steps") or model.family.recipe.embedding_steps)


def command_text(options: argparse.Namespace) -> str:
    """What makes the page again."""
    words = ["python -m workshop.evaluation.bench_page --page FILE"]
    for name in ("strategies", "subjects", "seeds"):
        value = getattr(options, name)
        if value is not None:
            words.append(f"--{name} {value}")
    return " ".join(words)


def page_introduction(model: ARModel, data: DataSet, plan: Plan, command: str) -> list[str]:
    """What was compared, with how much effort. `command`: what was typed."""
    steps = []
    for variant in plan.variants:
        settings = VARIANTS[variant].settings(model.family, plan.seeds[0], plan.training)
        if settings is not None:
            steps.append(f"{variant} {steps_on_page(settings)}")
    return [
        "# The miniature's DreamBench",
        "",
        f"Written by `{command}` on {machine()}, model `{model.fingerprint}`.",
        f"{len(data.subjects)} drawn subjects that no training saw, {len(data.prompts(data.subjects[0]))} prompts each "
        f"(places, accessories or further places, another colour), {plan.images_per_prompt} picture(s) per prompt and "
        "seed.",
        seeds_text(data, plan),
        "",
        "The numbers are those of the miniature's own scorers (`ar_core/miniature/scorers/SCORER_CARD.md`). They "
        "compare with nothing",
        "published and say nothing about the 7B; what can be compared is which variant is ahead. Some prompts ask for "
        "a place that a",
        "subject's photos show as well, as in DreamBench itself.",
        "",
        f"Steps, equal by design: {'; '.join(steps)}.",
        "",
        *(f"- `{variant}`: {VARIANTS[variant].meaning}" for variant in plan.variants),
    ]


def seeds_text(data: DataSet, plan: Plan) -> str:
    """Who was trained with which seeds."""
    seeds = ", ".join(map(str, plan.seeds))
    several = [subject.name for subject in data.subjects if len(plan.seeds_of(subject)) > 1]
    if len(several) in (0, len(data.subjects)):
        return f"Training seeds: {seeds}."
    return f"Training seed {plan.seeds[0]}; {', '.join(several)} with seeds {seeds}."


def steps_on_page(settings: TrainingSettings) -> str:
    """ "150 + 80", or one number where there is one stage."""
    if settings.strategy == "joint":
        return str(settings.layer_steps)
    if settings.strategy == "two_stage":
        return f"{settings.embedding_steps} + {settings.layer_steps}"
    return str(settings.embedding_steps)


def seeds_section(scored: Scored) -> list[str]:
    """How much a variant's mean over the subjects with several seeds moves from one to the next; none without any."""
    measures = next(iter(scored.values()))[0].picture_measures
    rows = []
    for variant, subjects in scored.items():
        by_seed: dict[int | None, list[tuple[float, ...]]] = {}
        for subject in subjects:
            own: dict[int | None, list[tuple[float, ...]]] = {}
            for picture in subject.pictures:
                own.setdefault(picture.seed, []).append(picture.values)
            if len(own) > 1:
                for seed, values in own.items():
                    by_seed.setdefault(seed, []).extend(values)
        means = np.array([np.mean(values, 0) for values in by_seed.values()])  # (seeds, measures)
        if len(means) > 1:
            rows.append([variant, *map(number_text, means.std(0, ddof=1).tolist())])
    if not rows:
        return []
    title = "Standard deviation of the mean over the subjects with several seeds:"
    return ["## Between training seeds", "", title, "", *markdown_table(["", *measures], rows), ""]


def claims_section(scored: Scored, findings: Findings) -> list[str]:
    """The paper's claims, what was measured, and whether they agree."""
    rows = []
    for claim in answerable_claims(scored):
        finding = findings[comparison_of(scored, claim)]
        rows.append([claim.text, f"{finding.comparison}: {finding}", verdict_on_claim(finding)])
    table = markdown_table(["the paper (numbers on the 7B)", "difference here", ""], rows)
    return ["## What the paper says, and what the miniature shows", "", *table]


def single_section(falls: Falls, steps: int, folder: str) -> list[str]:
    """The paper's observation on a single photo."""
    rows = []
    for name, kinds in falls.items():
        for kind, fall in kinds.items():
            losses = [f"{value:.2f}" for value in (fall.first, fall.middle, fall.last)]
            rows.append([name, kind, *losses, share_text(late_share_of_fall(fall))])
    head = ["", "photos", "first", "middle", "last", "share of the fall after the middle"]
    return [
        "## Stage 1 on a single photo",
        "",
        "The paper: on one photo the loss falls a little and then stays. Mean loss per code of the first, the middle "
        "and the last "
        f"sixth of {steps} steps:",
        "",
        *markdown_table(head, rows),
        "",
        f"![losses of the first subject]({folder}/single_photo.png)",
    ]


def late_share_of_fall(fall: single_photo.Fall) -> float:
    """How much of the fall came after the middle; NaN where losses did not fall."""
    if fall.first <= fall.last:
        return NAN
    return (fall.middle - fall.last) / (fall.first - fall.last)


def share_text(share: float) -> str:
    if math.isnan(share):
        return "–"
    return f"{share:.0%}"


def contact_sheet(data: DataSet, subject: BenchSubject, plan: Plan, out: Path) -> Image.Image:
    """One subject: a photo and the first seed's picture of every prompt, a row for each variant."""
    prompts = [prompt.plain(subject.class_name) for prompt in data.prompts(subject)]
    rows = []
    for number, variant in enumerate(plan.variants):
        folder = out / variant / subject.name
        row = [open_picture(subject.photos[number % len(subject.photos)])]
        for index in range(len(prompts)):
            row.append(open_picture(folder / f"{index:02d}_{plan.seeds[0]}_00.png"))
        rows.append(row)
    short = [prompt.removeprefix(f"a {subject.class_name} ") for prompt in prompts]
    labels = [f"{variant}: {VARIANTS[variant].meaning}" for variant in plan.variants]
    return picture_grid(rows, cell=CELL, columns=["photo", *short], labels=labels, title=subject.name)


def open_picture(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def variants_after_first(options: argparse.Namespace) -> Sequence[str]:
    """Those that the first can be compared with."""
    if options.strategies is None:
        return drawn_suite().variants[1:]
    return options.strategies.split(",")[1:]


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the process where None."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.bench_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.add_argument("--page", type=Path, help="the page to write (default: OUT/miniature.md)")
    if arguments is None:
        arguments = sys.argv[1:]
    options = parser.parse_args(["--data", DRAWINGS, *with_settings(parser, arguments)])
    if options.against is None and PRIMARY.less in variants_after_first(options):
        options.against = PRIMARY.less
    processes = join_processes()
    model = load_model_from_options(options)
    progress = Bar()
    with keyboard_interrupts():  # whoever called this has its signals back afterwards
        cancel = Interruption()
        failed: list[str] = []
        outcome = run_benchmark(options, model, progress, cancel, failed, processes, claimed_comparisons)
        processes.wait_for_others()
        if failed:
            sys.exit(f"{len(failed)} units failed; the page needs all of them. The same command tries them again.")
        if outcome is not None:
            page = options.page or options.out / "miniature.md"
            write_page(page, model, outcome, options, progress, cancel)
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
