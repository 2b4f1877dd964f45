"""The section of the model card on subjects that no training saw."""

from __future__ import annotations

from collections.abc import Sequence

from ar_core.tables import markdown_table

from ..world.subjects import SUBJECTS
from .editions import Edition, rows_of_editions, title_of
from .effort import PHOTOS, Effort
from .intervals import NOTHING, interval_table
from .personalized_pictures import CONDITIONS, DRAWN
from .pictures import DISTRACTORS, SIBLINGS
from .summaries import GROUPS, MEASURES, Values, spread_between_seeds

BY_SUBJECT = ("both", "mark", "mini-ID")


def personalization_section(editions: Sequence[Edition]) -> list[str]:
    """How it was measured, then tables over groups, between seeds and by subject."""
    effort = editions[0].setup.effort
    if not effort.subjects:
        return ["## Personalization of unseen subjects", "", "Not measured for this version yet.", ""]
    lines = _how_it_was_measured(editions[0])
    for group in GROUPS:
        if group in editions[0].table["personalization"][DRAWN]:
            lines += [f"### {group}", "", *_table_of_group(editions, group), ""]
    if len(effort.seeds) > 1:
        lines += [*_seeds_section(editions, effort), ""]
    for edition in editions:
        lines += [f"### By subject: {' / '.join(BY_SUBJECT)}{_of(editions, edition)}", ""]
        lines += [*_table_by_subject(edition), ""]
    return lines


def _how_it_was_measured(edition: Edition) -> list[str]:
    effort = edition.setup.effort
    recipe = edition.setup.model.family.recipe
    others = DISTRACTORS + SIBLINGS + len(SUBJECTS) - 1
    seeds = ", ".join(map(str, effort.seeds))
    return [
        "## Personalization of unseen subjects",
        "",
        f"{len(effort.subjects)} subjects, {PHOTOS} photos each, {effort.places} places that no photo shows; cfg "
        f"{recipe.cfg:g}, top-k {recipe.top_k}.",
        f"Training seed {effort.seeds[0]}; {', '.join(effort.spread)} with seeds {seeds}.",
        "",
        f"- identity: the picture is nearest to the subject's photos among {others} others; {DISTRACTORS + SIBLINGS} "
        "are of its class,",
        f"  {SIBLINGS} of those in its very colours, with another marking or skin",
        "- place: the attribute judge sees the place that was asked for. Read both together: copying a photo gives "
        "identity without place.",
        "- mark: the attribute judge sees the subject's marking (of the subjects that have one)",
        "- mini-ID, mini-CLIP-T: cosines by the miniature's scorers, to the subject's photos and to the prompt",
        "",
        "Intervals: Student's over subjects. Nothing was chosen on these subjects: choices are made on others.",
        "",
    ]


def _table_of_group(editions: Sequence[Edition], group: str) -> list[str]:
    return interval_table(
        rows_of_editions(
            editions,
            lambda table: {
                f"{condition} ({meaning})": table["personalization"][condition][group]
                for condition, meaning in CONDITIONS.items()
            },
        )
    )


def _seeds_section(editions: Sequence[Edition], effort: Effort) -> list[str]:
    """How much a mean moves from one training seed to the next."""
    rows = []
    for condition in CONDITIONS:
        for edition in editions:
            spread = spread_between_seeds(edition.table["personalization"][condition]["seeds"])
            cells = [f"{spread[measure]:.3f}" for measure in MEASURES]
            rows.append([title_of(editions, edition.name, condition), *cells])
    title = f"Standard deviation of the mean over {', '.join(effort.spread)}:"
    return ["### Between training seeds", "", title, "", *markdown_table(["", *MEASURES], rows)]


def _table_by_subject(edition: Edition) -> list[str]:
    found = edition.table["personalization"]
    rows = []
    for name in edition.setup.effort.subjects:
        cells = [_rates_text(found[condition]["subjects"][name]) for condition in CONDITIONS]
        rows.append([name, *cells])
    return markdown_table(["", *CONDITIONS], rows)


def _rates_text(values: Values) -> str:
    """ "0.83 / 1.00 / 0.71", a dash where nothing was measured."""
    texts = []
    for measure in BY_SUBJECT:
        text = NOTHING
        if measure in values:
            text = f"{values[measure]:.2f}"
        texts.append(text)
    return " / ".join(texts)


def _of(editions: Sequence[Edition], edition: Edition) -> str:
    if len(editions) == 1:
        return ""
    return f", {edition.name}"
