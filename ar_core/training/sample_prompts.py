"""Prompts of the pictures that are drawn while a subject is learned: the user's own, or ours."""

from __future__ import annotations

from collections.abc import Sequence

from ..quoting import quoted
from ..styles import full_name
from ..text import Identifier, TextError, resolve_prompt, without_invisible

SLOT = "{}"  # where the subject goes
MOST = 100  # prompts: each is a picture at every kept step
# What the best step is chosen by: places, a ground and a colour that neither DreamBench nor the miniature's own
# benchmark asks for, in words that the miniature knows. A colour comes with them because it is what a training loses
# first: the pictures of a subject that is learned too long no longer change.
SELECTION_PROMPTS = (
    "a {} in the desert",
    "a {} in the mountains",
    "a {} in the garden",
    "a {} on a pink carpet",
    "a green {}",
)


def subject_prompts(prompts: Sequence[str], identifier: str, class_name: str) -> tuple[str, ...]:
    """`prompts` with "[V] dog" in place of {}; without empty ones, each once.

    Raises TextError for one that does not name the subject, whose picture would say nothing of the training.
    """
    named = full_name(identifier, class_name)
    found: dict[str, None] = {}
    for prompt in prompts:
        text = " ".join(prompt.split()).replace(SLOT, named)
        if not text:
            continue
        if identifier not in without_invisible(text):
            raise TextError(
                f'The sample prompt {quoted(text)} does not name the subject. Write {SLOT} or "{named}" where it goes.'
            )
        found[text] = None
    if len(found) > MOST:
        raise TextError(f"There are {len(found)} sample prompts; give at most {MOST}.")
    return tuple(found)


def without_subject(prompt: str, identifier: str, class_name: str) -> str:
    """What the base model draws in its place: "a [V] dog in the desert" -> "a dog in the desert"."""
    return resolve_prompt(prompt, [Identifier(identifier, class_name, 0, 1, dropped=True)])
