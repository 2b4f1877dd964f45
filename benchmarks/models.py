"""Which models there are and what they need: the tables in docs/models.md and README.md.

    python -m benchmarks.models [--write]

Licences are those that the families name, memory and time are counted as in docs/hardware.md; nothing is measured.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from ar_core import ARModel
from ar_core.families.miniature import MINIATURE
from ar_core.files import write_text
from ar_core.memory import drawing_bytes, size_text, weight_bytes
from ar_core.tables import markdown_table

from . import memory
from .common.counted import JANUS_1B, JANUS_7B, LUMINA_7B, CountedModel
from .hardware import CARDS, held_on, time_text

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- written by: python -m benchmarks.models --write -->"
END = "<!-- until here -->"
PRECISIONS = {"bf16": None, "int8": "int8", "4-bit": "4-bit"}
NONE = "–"
AT_HOME = [card for card in CARDS if card.gigabytes <= max(memory.CARDS)]


@dataclass(frozen=True, eq=False)
class Shown:
    """A model as the tables show it. `counted`: None for the miniature, which needs no card."""

    name: str
    counted: CountedModel | None
    licence: str
    paid: str  # whether its pictures may be sold
    pictures: str
    files: str
    folder: str
    node: str


def _hub(*names: str) -> str:
    """Links to repositories."""
    return ", ".join(f"[{name}](https://huggingface.co/{name})" for name in names)


LUMINA = Shown(
    name="Lumina-mGPT 1.0 7B",
    counted=LUMINA_7B,
    licence=LUMINA_7B.family.licence,
    paid="no",
    pictures=" / ".join(map(str, LUMINA_7B.pixels)) + " px, a model for each; many shapes",
    files=_hub("Alpha-VLLM/Lumina-mGPT-7B-512", "Alpha-VLLM/Lumina-mGPT-7B-768", "Alpha-VLLM/Lumina-mGPT-7B-1024")
    + " and the image tokenizer from "
    + _hub("leloy/Anole-7b-v0.1-vqvae-hf"),
    folder="`models/lumina_mgpt/<name>`",
    node="Load Lumina-mGPT",
)


def _janus(model: CountedModel) -> Shown:
    size = model.name.rpartition(" ")[2]
    return Shown(
        name=model.name,
        counted=model,
        licence=model.family.licence,
        paid="yes, within the restrictions",
        pictures=f"{model.pixels[0]} x {model.pixels[0]} px",
        files=_hub(f"deepseek-ai/Janus-Pro-{size}") + " or " + _hub(f"deepseek-community/Janus-Pro-{size}"),
        folder="`models/Janus-Pro/<name>`",
        node="Load Janus-Pro",
    )


SMALL = Shown(
    name="the miniature",
    counted=None,
    licence=MINIATURE.licence,
    paid="yes",
    pictures=f"{MINIATURE.recipe.size[0]} x {MINIATURE.recipe.size[0]} px, drawn scenes of 12 classes",
    files="ships with this repository",
    folder="none",
    node="Load Lumina-mGPT",
)
SHOWN = (LUMINA, _janus(JANUS_1B), _janus(JANUS_7B), SMALL)


# ---------------------------------------------------------------- cells


def smallest_card(model: CountedModel | None) -> str:
    """The smallest of the cards that are counted on which pictures of the usual size and both stages fit."""
    if model is None:
        return "none, a CPU will do"
    for gigabytes, free in memory.CARDS.items():
        schemes = memory.schemes_that_fit(model, free)
        if schemes:
            size = ""
            if len(model.sizes) > 1:
                size = f", {model.family.recipe.size[0]} px"
            return f"{gigabytes} GB ({schemes[0] or 'bf16'}{size})"
    return NONE


def cards_text(model: CountedModel | None) -> str:
    """The smallest card for each precision."""
    if model is None:
        return NONE
    found = []
    for scheme in PRECISIONS.values():
        boxes = [box for box, free in memory.CARDS.items() if scheme in memory.schemes_that_fit(model, free)]
        found.append(str(min(boxes)) if boxes else NONE)
    return f"{' / '.join(found)} GB"


def memory_text(model: CountedModel | None, use: str, scheme: str | None) -> str:
    """For each size. `use`: how the use's name begins in `memory.bytes_by_use`."""
    if model is None:
        return NONE
    found = []
    for size in model.sizes:
        table = memory.bytes_by_use(model, size, scheme)
        found += [size_text(count).removesuffix(" GiB") for name, count in table.items() if name.startswith(use)]
    return f"{' / '.join(found)} GiB"


def miniature_text() -> str:
    """What the miniature takes in main memory while it draws."""
    model = ARModel.load()
    recipe = model.family.recipe
    weights = weight_bytes(model.transformer) + weight_bytes(model.image_tokenizer)
    drawing = drawing_bytes(model, recipe.size, 1, recipe.cfg, previews=False)
    return f"{size_text(weights + drawing)} of main memory (fp32)"


def times_text(model: CountedModel | None, card_name: str) -> str:
    """A picture, and both stages with the recipe that nodes start with."""
    if model is None:
        return NONE
    for held in held_on(model):
        if held.card.name == card_name:
            _, recipe = model.recipes[0]
            picture = time_text(held.started_seconds(model.family.recipe.size))
            return f"{picture}; {time_text(held.started_training_seconds(recipe))} ({held.precision})"
    return "does not fit"


# ---------------------------------------------------------------- tables


def long_table() -> list[str]:
    """A column for each model, as lines of Markdown."""
    rows = [
        ["licence of the weights", *(shown.licence for shown in SHOWN)],
        ["work for money", *(shown.paid for shown in SHOWN)],
        ["pictures", *(shown.pictures for shown in SHOWN)],
        ["smallest card, computed", *(smallest_card(shown.counted) for shown in SHOWN)],
        [f"smallest card, {' / '.join(PRECISIONS)}", *(cards_text(shown.counted) for shown in SHOWN)],
        ["files", *(shown.files for shown in SHOWN)],
        ["folder in ComfyUI", *(shown.folder for shown in SHOWN)],
        ["node", *(shown.node for shown in SHOWN)],
    ]
    for title, use in (("one picture", memory.PICTURE), ("both stages, LoRA", "stage 2, LoRA")):
        for precision, scheme in PRECISIONS.items():
            cells = [memory_text(shown.counted, use, scheme) for shown in SHOWN]
            if use == memory.PICTURE and scheme is None:
                cells = [cell if shown.counted else miniature_text() for cell, shown in zip(cells, SHOWN, strict=True)]
            rows.append([f"memory, {title}, {precision}", *cells])
    for card in AT_HOME:
        rows.append(
            [f"{card.name}: a picture; both stages", *(times_text(shown.counted, card.name) for shown in SHOWN)]
        )
    return markdown_table(["", *(shown.name for shown in SHOWN)], rows)


def short_table() -> list[str]:
    """A line for each model, for README.md."""
    rows = []
    for shown in SHOWN:
        rows.append([shown.name, shown.licence, shown.pictures, smallest_card(shown.counted)])
    return markdown_table(["model", "licence of the weights", "pictures", "smallest card, computed"], rows)


PAGES = {ROOT / "docs" / "models.md": long_table, ROOT / "README.md": short_table}


def with_table(text: str, lines: list[str]) -> str:
    """`text` with the lines between its two marks, which it has once each."""
    before, rest = text.split(f"{BEGIN}\n")
    _, after = rest.split(END)
    return "\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/models.md and README.md")
    options = parser.parse_args()
    for path, table in PAGES.items():
        lines = table()
        print("\n".join(lines), end="\n\n")
        if options.write:
            write_text(path, with_table(path.read_text(encoding="utf-8"), lines))


if __name__ == "__main__":
    main()
