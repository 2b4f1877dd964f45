"""The miniature's model card: what it is, how it was trained, and what was measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ar_core.files import read_json, write_json, write_text
from ar_core.model import ARModel
from ar_core.tables import markdown_table

from ..machine import machine
from ..world.subjects import SUBJECTS
from .evaluation import CONDITIONS, MEASURES, PHOTOS, REFERENCES, Effort
from .intervals import interval_table, interval_text
from .pictures import DISTRACTORS

UNRECORDED = {"settings, seed, steps, time, machine": "not recorded"}


def write_card(out: Path, training: Path, model: ARModel, effort: Effort, table: dict[str, Any]) -> None:
    """`table.json` and `MODEL_CARD.md` in `out`. `training`: the folder with the record of the training."""
    out.mkdir(parents=True, exist_ok=True)
    whole = {"fingerprint": model.fingerprint, "effort": asdict(effort), "machine": machine(), **table}
    write_json(out / "table.json", whole)
    record = training / "training.json"
    recorded = read_json(record) if record.exists() else UNRECORDED
    personalized = NOT_PERSONALIZED
    if effort.subjects:
        personalized = personalization_section(model, effort, table["personalization"])
    lines = [*card_introduction(model, effort, recorded), *judges_section(table), *personalized, *LIMITS]
    write_text(out / "MODEL_CARD.md", "\n".join(lines))


def card_introduction(model: ARModel, effort: Effort, recorded: dict[str, Any]) -> list[str]:
    """What the model is, and how it was trained."""
    trial = []
    if effort.training:
        trial = [
            "**A trial run of the evaluation with shortened trainings: these numbers say nothing about the model.**",
            "",
        ]
    return [
        "# The miniature",
        "",
        f"Licence: {model.family.licence}",
        "",
        "A small auto-regressive text-to-image model of drawn scenes (96 px, 16x16 codes) in the file layout of "
        "Lumina-mGPT 7B.",
        "It exists so that everything in this repository runs without a download. It was trained from nothing on "
        "drawings made by",
        "`workshop/world/`; it has never seen a photograph.",
        "",
        f"Fingerprint `{model.fingerprint}`. Measured by `python -m workshop.evaluation.evaluate` on {machine()}.",
        "Brackets hold 95 % intervals.",
        "",
        *trial,
        "## Training",
        "",
        *[f"- {key}: {value}" for key, value in recorded.items()],
        "",
    ]


def judges_section(table: dict[str, Any]) -> list[str]:
    """The sections on judges, image tokenizer and samples."""
    fidelity = [f"- {name}: {interval_text(value)}" for name, value in table["reconstruction"].items()]
    retrieval = "; ".join(f"{name} {interval_text(value)}" for name, value in table["judges"]["retrieval"].items())
    return [
        "## The judges",
        "",
        "Two small networks trained on drawings measure everything below. Their own share of right answers about "
        "scenes that the",
        "miniature's training left out, as drawn and after the image tokenizer: the most that samples could reach.",
        "",
        *interval_table({name: table["judges"][name] for name in ("drawings", "reconstructions")}),
        "",
        f"A new picture of a subject is nearest to its own {REFERENCES} pictures and not to those of {DISTRACTORS} "
        "others of its class",
        f"(chance {1 / (DISTRACTORS + 1):.2f}): {retrieval}.",
        "",
        "## Reconstruction (PSNR in dB, mean per image)",
        "",
        *fidelity,
        "",
        "## Samples of held-out combinations",
        "",
        "Class, colour and pattern never occurred together in training.",
        "",
        *interval_table(table["samples"]),
        "",
    ]


def personalization_section(model: ARModel, effort: Effort, table: dict[str, Any]) -> list[str]:
    """The section on personalization."""
    recipe = model.family.recipe
    others = DISTRACTORS + len(SUBJECTS) - 1
    seeds = ", ".join(map(str, effort.seeds))
    lines = [
        "## Personalization of unseen subjects",
        "",
        f"{len(effort.subjects)} subjects, {PHOTOS} photos each, {effort.places} places that no photo shows, training "
        f"seeds {seeds};",
        f"cfg {recipe.cfg:g}, top-k {recipe.top_k}.",
        f"Identity: the picture is nearest to the subject's photos among {others} others, {DISTRACTORS} of them of its "
        "class. Place: the",
        "attribute judge sees the place that was asked for. Read both together: copying a photo gives identity without "
        "place.",
        "Intervals: bootstrap over subjects, of which there are few.",
        "",
    ]
    for group in ("in range", "out of range", "all"):
        rows = {f"{condition} ({meaning})": table[condition][group] for condition, meaning in CONDITIONS.items()}
        lines += [f"### {group}", "", *interval_table(rows), ""]
    rows_by_subject = []
    for name in effort.subjects:
        cells = [name]
        for condition in CONDITIONS:
            rates = table[condition]["subjects"][name]
            cells.append(" / ".join(f"{rates[measure]:.2f}" for measure in MEASURES))
        rows_by_subject.append(cells)
    by_subject = markdown_table(["", *CONDITIONS], rows_by_subject)
    return [*lines, "### By subject: identity / place / both", "", *by_subject, ""]


NOT_PERSONALIZED = ["## Personalization of unseen subjects", "", "Not measured for this version yet.", ""]
LIMITS = [
    "## Limits",
    "",
    "- Twelve classes, twelve colours, five patterns, twelve places and four accessories, in the words of its own "
    "captions.",
    "- Photographs can be encoded and learned from, but come back as drawings at best.",
    "- The judges were made for this table, from the same drawing code as the model: the numbers compare with nothing "
    "published and say",
    "  nothing about the 7B. The identity judge is partly a judge of colour.",
]
