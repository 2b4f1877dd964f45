"""The miniature's own DreamBench and the page about it: tables, what the paper claims against what was measured, contact sheets.

    python -m workshop.evaluation.bench_page --out dreambench --page docs/miniature_dreambench.md

Draws the subjects, compares the strategies on them with three training seeds, and scores the pictures; stops and goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ar_core.commands.dreambench import dreambench_options, run_dreambench
from ar_core.commands.shared import Bar, Interruption, load_model, model_options
from ar_core.control import Cancel, Progress
from ar_core.dreambench import drawings
from ar_core.dreambench.benchmark import Plan
from ar_core.dreambench.dataset import DataSet
from ar_core.dreambench.report import comparison
from ar_core.dreambench.scoring import SubjectScores, difference, over
from ar_core.dreambench.ways import WAYS
from ar_core.files import write_image, write_json, write_text
from ar_core.model import ARModel
from ar_core.sheets import grid, loss_curves

from ..world.bench_data import drawn_dataset
from . import single_photo
from .evaluate import machine

CELL = 112

Scored = Mapping[str, Sequence[SubjectScores]]


@dataclass(frozen=True)
class Claim:
    """What the paper says of two ways, as the sign of their difference in one measure (0: ViT, 1: image-image, 2: image-text)."""

    text: str
    more: str
    less: str
    measure: int


CLAIMS = (
    Claim(
        "two stages show the subject more faithfully than joint training (DINO .671 against .509)",
        "two_stage",
        "joint",
        0,
    ),
    Claim(
        "two stages follow the prompt better than joint training (CLIP-T .314 against .296)", "two_stage", "joint", 2
    ),
    Claim(
        "the same, joint training having as many steps as both stages together: subject", "two_stage", "joint_long", 0
    ),
    Claim(
        "the same, joint training having as many steps as both stages together: prompt", "two_stage", "joint_long", 2
    ),
    Claim("the layers add likeness to the embedding alone (DINO .671 against .601)", "two_stage", "embedding_only", 0),
    Claim(
        "the embedding alone follows the prompt a little better (CLIP-T .320 against .314)",
        "embedding_only",
        "two_stage",
        2,
    ),
    Claim(
        "the full q, k and v show the subject a little more faithfully than LoRA (DINO .671 against .657)",
        "two_stage_full",
        "two_stage",
        0,
    ),
    Claim(
        "after joint training the embedding alone says less on the original transformer than stage 1's does",
        "embedding_only",
        "joint_reverted",
        0,
    ),
)


def write(
    page: Path,
    model: ARModel,
    data: DataSet,
    plan: Plan,
    out: Path,
    scored: Scored,
    names: dict[str, str],
    progress: Progress,
    cancel: Cancel,
) -> None:
    """Write `page`, the same as JSON beside it, and pictures into a folder of its name."""
    sheets = page.with_suffix("")
    sheets.mkdir(parents=True, exist_ok=True)
    chosen = (data.subjects[0], data.subjects[-1])  # one that captions could name, one that they could not
    losses = single_photo.curves(model, chosen, single_steps(model, plan), out / "_runs", progress, cancel)
    falls = {
        name: {kind: single_photo.fall(values) for kind, values in kinds.items()} for name, kinds in losses.items()
    }
    lines = [
        *introduction(model, data, plan),
        "",
        comparison(scored, names),
        "",
        *between_seeds(scored),
        "",
        *claims(scored),
        "",
    ]
    lines += [*single_section(falls, single_steps(model, plan), sheets.name), "", "## Contact sheets", ""]
    for number, subject in enumerate(data.subjects):
        name = f"{subject.name}.jpg"
        write_image(sheets / name, contact_sheet(data, plan, out, number), quality=88)
        lines += [f"### {subject.name}", f"![{subject.name}: one row for every way]({sheets.name}/{name})", ""]
    name, kinds = next(iter(losses.items()))
    write_image(sheets / "single_photo.png", loss_curves(kinds))
    found = {
        "machine": machine(),
        "model": model.fingerprint,
        "encoders": names,
        "seeds": plan.seeds,
        "ways": {way: over(results) for way, results in scored.items()},
        "claims": [
            {**asdict(claim), "difference": _difference(scored, claim), "verdict": verdict(scored, claim)}
            for claim in answerable(scored)
        ],
        "single photo": {name: {kind: asdict(value) for kind, value in kinds.items()} for name, kinds in falls.items()},
    }
    write_json(page.with_suffix(".json"), found)
    write_text(page, "\n".join(lines).rstrip())


def single_steps(model: ARModel, plan: Plan) -> int:
    """Twice stage 1's own, to see the loss stay."""
    return 2 * (plan.training.get("embedding_steps") or model.family.recipe.embedding_steps)


def introduction(model: ARModel, data: DataSet, plan: Plan) -> list[str]:
    used = {way: WAYS[way].settings(model.family, plan.seeds[0], plan.training) for way in plan.ways}
    steps = [f"{way} {_steps(settings)}" for way, settings in used.items() if settings]
    return [
        "# The miniature's DreamBench",
        "",
        f"Written by `python -m workshop.evaluation.bench_page --page FILE` on {machine()}, model `{model.fingerprint}`.",
        f"{len(data.subjects)} drawn subjects that no training saw, {len(data.prompts(data.subjects[0]))} prompts each "
        f"(places, accessories or further places, another colour), training seeds {', '.join(map(str, plan.seeds))}, "
        f"{plan.images_per_prompt} picture(s) per prompt and seed.",
        "",
        "The numbers are those of the miniature's own scorers (`ar_core/miniature/scorers/SCORER_CARD.md`). They compare with nothing",
        "published and say nothing about the 7B; what can be compared is which way is ahead. Some prompts ask for a place that a",
        "subject's photos show as well, as in DreamBench itself.",
        "",
        f"Steps, equal by design: {'; '.join(steps)}.",
        "",
        *(f"- `{way}`: {WAYS[way].meaning}" for way in plan.ways),
    ]


def _steps(settings) -> str:
    if settings.strategy == "joint":
        return str(settings.layer_steps)
    return str(settings.embedding_steps) + (f" + {settings.layer_steps}" if settings.strategy == "two_stage" else "")


def between_seeds(scored: Scored) -> list[str]:
    """How much a way's mean moves from one training seed to the next."""
    measures = next(iter(scored.values()))[0].measures
    rows = ["## Between training seeds", "", "Standard deviation of the mean over all subjects:", ""]
    rows += [f"| | {' | '.join(measures)} |", "|---" * (len(measures) + 1) + "|"]
    for way, subjects in scored.items():
        by_seed: dict[str, list[tuple[float, ...]]] = {}
        for picture in (picture for subject in subjects for picture in subject.pictures):
            by_seed.setdefault(Path(picture.file).stem.split("_")[1], []).append(picture.values)
        means = np.array([np.mean(values, 0) for values in by_seed.values()])
        spread = means.std(0, ddof=1) if len(means) > 1 else [float("nan")] * len(measures)
        rows.append(f"| {way} | {' | '.join('–' if v != v else f'{v:.3f}' for v in spread)} |")
    return rows


def claims(scored: Scored) -> list[str]:
    lines = [
        "## What the paper says, and what the miniature shows",
        "",
        "| the paper (numbers on the 7B) | difference here | |",
        "|---|---|---|",
    ]
    for claim in answerable(scored):
        mean, low, high = _difference(scored, claim)
        measure = scored[claim.more][0].measures[claim.measure]
        lines.append(
            f"| {claim.text} | {claim.more} − {claim.less}, {measure}: {mean:+.3f} ({low:+.3f} to {high:+.3f}) | {verdict(scored, claim)} |"
        )
    return lines


def answerable(scored: Scored) -> list[Claim]:
    return [claim for claim in CLAIMS if claim.more in scored and claim.less in scored]


def _difference(scored: Scored, claim: Claim) -> tuple[float, float, float]:
    return difference(scored[claim.more], scored[claim.less])[scored[claim.more][0].measures[claim.measure]]


def verdict(scored: Scored, claim: Claim) -> str:
    _, low, high = _difference(scored, claim)
    return "**agrees**" if low > 0 else "**disagrees**" if high < 0 else "not separable"


def single_section(falls: Mapping[str, Mapping[str, single_photo.Fall]], steps: int, folder: str) -> list[str]:
    lines = [
        "## Stage 1 on a single photo",
        "",
        "The paper: on one photo the loss falls a little and then stays. Mean loss per code of the first, the middle and the last "
        f"sixth of {steps} steps:",
        "",
        "| | photos | first | middle | last | share of the fall after the middle |",
        "|---|---|---|---|---|---|",
    ]
    for name, kinds in falls.items():
        for kind, f in kinds.items():
            late = (f.middle - f.last) / (f.first - f.last) if f.first > f.last else float("nan")
            lines.append(
                f"| {name} | {kind} | {f.first:.2f} | {f.middle:.2f} | {f.last:.2f} | {'–' if late != late else f'{late:.0%}'} |"
            )
    return [*lines, "", f"![losses of the first subject]({folder}/single_photo.png)"]


def contact_sheet(data: DataSet, plan: Plan, out: Path, number: int) -> Image.Image:
    """One subject: a photo and the first seed's picture of every prompt, a row for each way."""
    subject, seed = data.subjects[number], plan.seeds[0]
    prompts = [prompt.plain(subject.class_name) for prompt in data.prompts(subject)]
    photos = [Image.open(path).convert("RGB") for path in subject.photos]
    rows = []
    for row, way in enumerate(plan.ways):
        folder = out / way / subject.name
        pictures = [Image.open(folder / f"{index:02d}_{seed}_00.png").convert("RGB") for index in range(len(prompts))]
        rows.append([photos[row % len(photos)], *pictures])
    short = [prompt.removeprefix(f"a {subject.class_name} ")[:14] for prompt in prompts]
    return grid(
        rows,
        cell=CELL,
        columns=["photo", *short],
        labels=[f"{way}: {WAYS[way].meaning}" for way in plan.ways],
        title=subject.name,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.bench_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model_options(parser)
    dreambench_options(parser)
    parser.add_argument("--page", type=Path, help="the page to write (default: OUT/miniature.md)")
    options = parser.parse_args(["--data", drawings.NAME, *(sys.argv[1:] if arguments is None else arguments)])
    drawn_dataset(options.out / "data")
    model, progress, cancel = load_model(options), Bar(), Interruption()
    outcome = run_dreambench(options, model, progress, cancel)
    if outcome is not None:
        page = options.page or options.out / "miniature.md"
        write(page, model, outcome.data, outcome.plan, options.out, outcome.scored, outcome.encoders, progress, cancel)
        print(f"wrote {page}")


if __name__ == "__main__":
    main()
