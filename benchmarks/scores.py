"""The page about scores: how they are made, what may be concluded from few subjects, and what a table costs:

    python -m benchmarks.scores --page docs/scores.md

Coverage is simulated (two minutes); hours are arithmetic, as in docs/hardware.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ar_core.dreambench.encoders import PAPER_ENCODERS
from ar_core.dreambench.extents import EXTENTS, Extent
from ar_core.dreambench.measures.registry import OPTIONAL, protocol_measures
from ar_core.dreambench.statistics import FEWEST
from ar_core.families.family import Recipe
from ar_core.files import write_text
from ar_core.tables import markdown_table

from .common.counted import MODELS, CountedModel
from .coverage import DRAWS, SUBJECTS, TRIALS, coverage_rows
from .hardware import Held, held_on, time_text

WHOLE = 30  # subjects
PROMPTS = 25

PAGE = """# Scores

Written by `python -m benchmarks.scores --page docs/scores.md`.

## What is measured

Every number is a raw cosine: no factor 2.5 (CLIPScore), no percent. A picture is compared with every photo of its
subject, or with its prompt from which the identifier was removed; the mean of a subject's pictures is its value, and
the mean over subjects stands in the table. Several training seeds of a subject are averaged before.

{measures}

Suspected copies and diversity are reported by subject; with `--class-images`, prior preservation (Ruiz et al. 2023) in
scores.json.
One file adds a measure (CONTRIBUTING.md).

## What may be concluded from few subjects

A row's interval is Student's, over subjects. Differences are paired by subject, over the prompts that all methods of
the table have. Below {fewest} subjects there is a mean and nothing else.

A resampled interval of few subjects is too narrow. An interval should leave the truth out in 5.0 % of all cases, for
example zero where two methods do not differ. Counted in {trials} simulated sets of subjects each (so to within 0.7
points), with {draws} resamplings:

{coverage}

So Student's t is used. Where differences are skewed it finds more than it should as well, as every method does: look at
the values by subject in scores.md, and prefer more subjects to more seeds.

A table of twenty differences shows one where there is none. Therefore one comparison is **named in advance**
(`--against`; the first method with the second, in likeness, unless you say otherwise) and tested by itself; the others
are corrected together by Holm's method, and only what stays below 0.05 is bold.

## What may be compared with what

scores.json holds the protocol: both encoders with the hash of their weights, their preprocessing, each subject's photos
by their pixels and its prompts, and an id of all that. Tables of one id may stand side by side.

```
python -m ar_core score --data DATASET --images ours=dreambench/two_stage theirs=PICTURES_OF_ANOTHER_TOOL \\
    --scores before=scores_of_last_week/scores.json --numbers others.csv --against theirs
```

gives one table with the differences of the first to each other one. An earlier report that was made by other encoders
or from other photos is refused. `--numbers` takes means per subject that somebody else measured (columns method,
subject and measures); nobody can check how those came about.

## Best steps, and what holds an image concept back

`dreambench --select best` uses of every training the kept step that is best in likeness and prompt following together,
`--select 40` that step. The best is chosen by the encoders that score the table, on five prompts and a seed that are
not in it; no prompt of DreamBench or of the drawn subjects has a word of theirs for a place or a look. Such a table
says "selected by the reported measure", and its numbers are not to be compared with those of last steps.
`joint_reverted` draws with less than it learned, and keeps its last steps.

The strategies `deep_image_casr`, `deep_image_dpp` and `deep_image_both` are `deep_image`, a deep concept with a
position before the picture, held back in the two ways of Wu et al. 2025 (arXiv 2508.07341): context self-regularization
holds it near where it starts, dual prior preservation trains it on pictures of the class that the frozen model draws.
Their weights are set in `ar_core/dreambench/variants.py`. No table has decided them yet.

## What a table costs

`--extent` names how much is run:

{extents}

Hours of one strategy (two stages, LoRA) by arithmetic: every subject learned, every picture drawn in batches of one, on
the cards of docs/hardware.md, where it says what is assumed. Scoring takes minutes.

{prices}

`--dry-run` says how many units and pictures there are, and whether encoders, memory and disk suffice; once a unit is
finished, how long the rest takes. Every setting of a benchmark can be typed or stand in a file (`--settings FILE`, JSON
or TOML). A run leaves its own as settings.json in --out (settings_2.json, where another run has left one), without
--out itself: `dreambench --settings dreambench/settings.json --out dreambench` goes on with it. Paths in it are those
that were typed.
"""


def measures_table() -> list[str]:
    """Every measure and its source; how each is computed stands in its file."""
    rows = [[measure.title, "always", measure.citation] for measure in protocol_measures(PAPER_ENCODERS)]
    rows += [[measure.title, f"`--measures {name}`", measure.citation] for name, measure in OPTIONAL.items()]
    return markdown_table(["measure", "", "source"], rows)


def strategy_seconds(held: Held, recipe: Recipe, extent: Extent) -> float | None:
    """One strategy over an extent; None where it does not fit."""
    times = held.times(recipe)
    if times is None:
        return None
    samples = times.samples * held.picture_seconds(recipe.learned_size)  # a benchmark draws none on the way
    subjects = len(extent.subjects or range(WHOLE))
    pictures = len(extent.prompts or range(PROMPTS)) * extent.images_per_prompt
    training = times.stage_one + times.stage_two - samples
    return subjects * (training + pictures * held.picture_seconds(recipe.size))


def price_table(model: CountedModel) -> list[str]:
    """Recipe and extent by card."""
    cards = held_on(model)
    rows = []
    for recipe_name, recipe in model.recipes:
        for extent_name, extent in EXTENTS.items():
            cells = [time_text(strategy_seconds(held, recipe, extent)) for held in cards]
            rows.append([recipe_name, extent_name, *cells])
    return markdown_table([model.name, "extent", *(f"{held.card.name}, {held.precision}" for held in cards)], rows)


def page() -> str:
    """docs/scores.md."""
    head = ["differences", "interval", *(f"{count} subjects" for count in SUBJECTS)]
    extents = [f"- `{name}`: {extent.meaning}" for name, extent in EXTENTS.items()]
    return PAGE.format(
        measures="\n".join(measures_table()),
        fewest=FEWEST,
        trials=TRIALS,
        draws=DRAWS,
        coverage="\n".join(markdown_table(head, coverage_rows())),
        extents="\n".join(extents),
        prices="\n\n".join("\n".join(price_table(model)) for model in MODELS),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True, help="the page to write")
    options = parser.parse_args()
    write_text(options.page, page())
    print(f"wrote {options.page}")


if __name__ == "__main__":
    main()
