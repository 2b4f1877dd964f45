"""Prompts of the pictures that are drawn while a subject is learned: the user's own, or ours."""

from __future__ import annotations

from collections.abc import Sequence

from ..quoting import quoted
from ..styles import full_name
from ..text import TextError, without_invisible

SLOT = "{}"  # where the subject goes
MOST = 100  # prompts: each is a picture at every kept step
# What the best step is chosen by: places, colours and a pattern of which neither DreamBench nor the miniature's own
# benchmark has a word, in words that the miniature knows. Colours come with them because they are what a training loses
# first: the pictures of a subject that is learned too long no longer change.
SELECTION_PROMPTS = (
    "a {} in the desert",
    "a {} in the garden",
    "an orange {}",
    "a striped {}",
    "a grey {} in the desert",
)
# Things that the photos of a style need not show: it is to stay a style, and not to bring these along.
STYLE_SELECTION_PROMPTS = (
    "a dog in the desert in the style of {}",
    "a car in the garden in the style of {}",
    "an orange cat in the style of {}",
    "a striped teapot in the style of {}",
    "a grey rabbit in the desert in the style of {}",
)


def subject_prompts(
    prompts: Sequence[str], identifier: str, class_name: str, *, choosing: bool = True
) -> tuple[str, ...]:
    """`prompts` with "[V] dog" in place of {}; without empty ones, each once.

    `choosing`: the best step is chosen by their pictures. Raises TextError then for one that does not name the subject:
    it would be scored for what nobody learned. Elsewhere it shows whether the class itself drifts.
    """
    named = full_name(identifier, class_name)
    found: dict[str, None] = {}
    for prompt in prompts:
        text = " ".join(prompt.split()).replace(SLOT, named)
        if not text:
            continue
        if choosing and identifier not in without_invisible(text):
            raise TextError(
                f'The sample prompt {quoted(text)} does not name the subject. Write {SLOT} or "{named}" where it goes.'
            )
        found[text] = None
    if len(found) > MOST:
        raise TextError(f"There are {len(found)} sample prompts; give at most {MOST}.")
    return tuple(found)


def selection_prompts(class_name: str) -> tuple[str, ...]:
    """Ours, for choosing the best step of a subject, or of a style, which has no class name."""
    if not class_name:
        return STYLE_SELECTION_PROMPTS
    return SELECTION_PROMPTS
