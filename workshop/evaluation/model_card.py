"""The miniature's model card: what it is, how it was trained, and what was measured. Other editions stand beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ar_core.files import read_json, write_json, write_text

from ..machine import machine
from .card_differences import differences_section
from .card_personalization import personalization_section
from .ceilings import DRAWINGS, RECONSTRUCTIONS
from .editions import Edition, rows_of_editions
from .galleries import REFERENCES
from .intervals import interval_table
from .pictures import DISTRACTORS, SIBLINGS

UNRECORDED = {"settings, seed, steps, time, machine": "not recorded"}


def write_card(out: Path, training: Path, editions: Sequence[Edition]) -> None:
    """`table.json` and `MODEL_CARD.md` of the first of the editions in `out`, beside the others.

    `training`: the folder with the record of its training.
    """
    out.mkdir(parents=True, exist_ok=True)
    numbers = {edition.name: edition.as_json() for edition in editions}
    effort = asdict(editions[0].setup.effort)
    write_json(out / "table.json", {"effort": effort, "machine": machine(), "editions": numbers})
    record = training / "training.json"
    recorded = UNRECORDED
    if record.exists():
        recorded = read_json(record)
    lines = [
        *card_introduction(editions, recorded),
        *judges_section(editions),
        *reconstruction_section(editions),
        *samples_section(editions),
        *personalization_section(editions),
    ]
    for older in editions[1:]:
        lines += differences_section(editions[0], older)
    write_text(out / "MODEL_CARD.md", "\n".join([*lines, *LIMITS]))


def card_introduction(editions: Sequence[Edition], recorded: dict[str, Any]) -> list[str]:
    """What the model is, and how it was trained."""
    first = editions[0]
    compared = []
    for other in editions[1:]:
        compared.append(f"Beside it, under the same judges and scorers: the {other.name}, `{other.fingerprint}`.")
    trial = []
    if first.setup.effort.training:
        trial = [
            "**A trial run of the evaluation with shortened trainings: these numbers say nothing about the model.**",
            "",
        ]
    return [
        "# The miniature",
        "",
        f"Licence: {first.setup.model.family.licence}",
        "",
        "A small auto-regressive text-to-image model of drawn scenes (96 px, 16x16 codes) in the file layout of "
        "Lumina-mGPT 7B.",
        "It exists so that everything in this repository runs without a download. It was trained from nothing on "
        "drawings made by",
        "`workshop/world/`; it has never seen a photograph.",
        "",
        f"Fingerprint `{first.fingerprint}`. Measured by `python -m workshop.evaluation.evaluate` on {machine()}.",
        *compared,
        "Brackets hold 95 % intervals.",
        "",
        *trial,
        "## Training",
        "",
        *[f"- {key}: {value}" for key, value in recorded.items()],
        "",
    ]


def judges_section(editions: Sequence[Edition]) -> list[str]:
    """What the judges themselves get right."""
    return [
        "## The judges",
        "",
        "Three small networks trained on drawings measure most of what follows. Their own share of right answers about "
        "scenes that the",
        "miniature's training left out, as drawn and after the image tokenizer: the most that samples could reach.",
        "",
        *_table_of_ceilings(editions, "single"),
        "",
        "Two subjects side by side. Pair right: both classes and colours, each at the side that was asked for.",
        "Classes, classes & colours: wherever they stand. Sides: what is seen fits better as asked than the other way "
        "round.",
        "A single subject in the middle stands at neither side.",
        "",
        *_table_of_ceilings(editions, "pairs"),
        "",
        "What marks a free subject:",
        "",
        *_table_of_ceilings(editions, "markings"),
        "",
        f"A new picture of a subject is nearest to its own {REFERENCES} pictures and not to those of "
        f"{DISTRACTORS + SIBLINGS} others of its class, {SIBLINGS}",
        f"of which have its very colours and another marking or skin (chance {1 / (DISTRACTORS + SIBLINGS + 1):.2f}):",
        "",
        *_table_of_ceilings(editions, "retrieval"),
        "",
    ]


def _table_of_ceilings(editions: Sequence[Edition], asked: str) -> list[str]:
    """Drawings are the same for every edition; what a tokenizer makes of them is not."""
    drawings = interval_table({DRAWINGS: editions[0].table["judges"][asked][DRAWINGS]})
    decoded = rows_of_editions(editions, lambda table: {RECONSTRUCTIONS: table["judges"][asked][RECONSTRUCTIONS]})
    return [*drawings, *interval_table(decoded)[2:]]


def reconstruction_section(editions: Sequence[Edition]) -> list[str]:
    """What the image tokenizer loses."""
    rows = rows_of_editions(editions, lambda table: {"PSNR": table["reconstruction"]})
    return ["## Reconstruction (PSNR in dB, mean per image)", "", *interval_table(rows), ""]


def samples_section(editions: Sequence[Edition]) -> list[str]:
    """What the base model draws."""
    recipe = editions[0].setup.cfg
    return [
        "## Samples of held-out combinations",
        "",
        "Class, colour and pattern never occurred together in training. By strength of guidance; the recipe's own is "
        f"{recipe:g}.",
        "",
        *interval_table(rows_of_editions(editions, lambda table: table["samples"])),
        "",
        "## Samples of two subjects with positions",
        "",
        'As in "a red mug to the left of a blue cat on the beach". Seen: each of the two occurs in training. Held out: '
        "neither does.",
        "",
        *interval_table(rows_of_editions(editions, lambda table: table["pairs"])),
        "",
    ]


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
