"""Styles: what is learned where there is no class word.

An empty class word says that the photos show a style, not a thing. Its name then stands for the whole of it, as in "a
dog in the style of [V]": nothing is put behind the name, and where it is dropped (strength 0) the words that lead to it
go, too. A style is a deep concept: published is that one picture, the first 3 of 32 layers and 600 steps are enough (Wu
et al. 2025, arXiv 2508.07341).
"""

from __future__ import annotations

import re

STYLE_WORD = "style"  # what a style starts from, and what its trainings and files are called
# For training, after Textual Inversion's templates for styles (Gal et al. 2022, arXiv 2208.01618).
STYLE_TEMPLATES = (
    "a photo in the style of {}",
    "a picture in the style of {}",
    "a rendition in the style of {}",
    "the photo in the style of {}",
    "a cropped photo in the style of {}",
    "a close-up photo in the style of {}",
    "a bright photo in the style of {}",
    "a good photo in the style of {}",
    "a nice photo in the style of {}",
    "an illustration in the style of {}",
)
# What goes with a style's name where it is dropped. Before it, "in the style of"; behind it, "'s" or "style". Before a
# name that nothing is said of, as the sentence ends there or goes on with a place, also "by" and "in a".
OF_STYLE = re.compile(r",?\s*\b(?:in|with)\s+(?:(?:an?|the)\s+)?style\s+of\s*$", re.IGNORECASE)
MADE_BY = re.compile(r",?\s*\bby\s*$", re.IGNORECASE)
IN_A = re.compile(r",?\s*\b(?:in|with)(?:\s+(?:an?|the))?\s*$", re.IGNORECASE)
BEHIND = re.compile(r"(?:['\u2019\u02bc\uff07]s\b)?(?P<style>[\s-]+styled?\b)?", re.IGNORECASE)
NOTHING_SAID = re.compile(r"\s*(?:$|[.,;:!?]|(?:and|at|by|in|on|under|with)\b)", re.IGNORECASE)
SENTENCE_MARKS = tuple(".,;:!?")


def full_name(name: str, class_name: str) -> str:
    """What prompts call a subject, "[V] dog", or a style, "[V]"."""
    return f"{name} {class_name}".rstrip()


def example_prompt(name: str, class_name: str) -> str:
    """A prompt whose picture shows what has been learned: the subject, or the style, at a place."""
    if not class_name:
        return f"a photo on the beach in the style of {name}"
    return f"a photo of {name} {class_name} on the beach"


def without_style(before: str, behind: str) -> tuple[str, str]:
    """What stands before and behind a style's name in a prompt, without the words and commas that only serve the name.

    "a dog in the style of", "" -> "a dog", ""; "a dog in a", " style" -> "a dog", "".
    """
    served = BEHIND.match(behind)
    assert served is not None  # it matches nothing as well
    behind = behind[served.end() :]
    before = OF_STYLE.sub("", before)
    if NOTHING_SAID.match(behind):
        leading = IN_A if served["style"] else MADE_BY
        before = leading.sub("", before)
    if not before.strip():
        behind = behind.lstrip(" ,")
    if not behind.strip() or behind.lstrip().startswith(SENTENCE_MARKS):
        before = before.rstrip(" ,")
    return before.rstrip(), behind
