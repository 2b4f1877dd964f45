"""Which of a family's recipes settings come from that the user leaves open."""

from __future__ import annotations

from dataclasses import replace

from ..quoting import quoted
from .family import Family, Recipe
from .lumina_mgpt import ARTIST_RECIPE, PAPER_RECIPE

AUTO = "auto"
PAPER = "paper"
ARTIST = "artist"
RECIPES = {
    AUTO: "the model family's own: Lumina-mGPT's is the paper's, Janus-Pro's and the miniature's are ours",
    PAPER: "the values of arXiv 2504.13162 where they are known, assumptions elsewhere (`info --recipe paper`)",
    ARTIST: "ours: a thirtieth of the paper's pairs in stage 1 and half of them in stage 2, Lumina-mGPT at 512 px",
}
VALUES = {PAPER: PAPER_RECIPE, ARTIST: ARTIST_RECIPE}


def with_recipe(family: Family, name: str) -> Family:
    """`family` with the recipe of that name, at sizes that it can draw. Raises ValueError for another name."""
    if name not in RECIPES:
        raise ValueError(f"There is no recipe {quoted(name)}. Choose one of: {', '.join(RECIPES)}.")
    if name == AUTO:
        return family
    return replace(family, recipe=fitted(VALUES[name], family))


def for_artists(family: Family) -> Family:
    """`family` with the recipe that a graph starts with: ours, where its own takes too long for a card at home."""
    if family.artist_recipe is None:
        return family
    return replace(family, recipe=fitted(family.artist_recipe, family))


def of_paper(family: Family) -> Family:
    """`family` with what a graph calls the paper's recipe."""
    if family.own_recipe_is_papers:
        return family
    return with_recipe(family, PAPER)


def fitted(recipe: Recipe, family: Family) -> Recipe:
    """`recipe` with the sizes that `family` draws; pictures to learn from are never larger than those.

    Guidance belongs to a model, so a family that has other ways than Lumina-mGPT's keeps them. Not the miniature, which
    takes a recipe in full as it always has: benchmarks that users have begun are found by it.
    """
    size = family.snap(*recipe.size)
    training_size = recipe.training_size
    if training_size is not None and area(training_size) >= area(size):
        training_size = None
    if not family.own_recipe_is_papers:
        own = family.recipe
        recipe = replace(recipe, cfg=own.cfg, top_k=own.top_k, temperature=own.temperature)
    return replace(recipe, size=size, training_size=training_size)


def area(size: tuple[int, int]) -> int:
    """Pixels."""
    return size[0] * size[1]
