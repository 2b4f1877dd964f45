"""Class words in prompts, found as a person would: in any case, number, spelling of accents, and script."""

from __future__ import annotations

import re
import unicodedata

JOINING = " (\"'“‘„«*"  # may stand between a name and its class word, as a hyphen may: '[V] "dog"', "[V] (dog)"
SEPARATORS = re.compile(r"[\s\-_\u2010-\u2015]+")
POSSESSIVE = re.compile(r"['\u2019\u02bc\uff07]s(?=[\s\-_\u2010-\u2015])", re.IGNORECASE)
IRREGULAR = {
    "man": "men",
    "woman": "women",
    "person": "people",
    "child": "children",
    "mouse": "mice",
    "goose": "geese",
}
JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji spell with them
# Parts of the Unicode names of letters that are written without spaces, or whose endings follow without one.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def begins_with_noun(text: str, noun: str) -> bool:
    """Whether `text`, what follows a name in a prompt, begins with `noun`: one, or several of them."""
    # As much as a noun can need: letters may be many code points, and a prompt may name many.
    rest = _folded(text.lstrip()[: 4 * len(noun) + 40]).lstrip(JOINING)
    return any(_begins_with_word(rest, form) for form in _forms(_folded(noun)))


def possessive_of_subject(text: str, noun: str) -> str:
    """The "'s" at the beginning of `text`, what follows a name, where `noun` comes next; else "".

    "[V]'s dog" means the dog that is [V], not one that belongs to it; "[V]'s bowl" is another thing.
    """
    found = POSSESSIVE.match(text)
    if found and begins_with_noun(text[found.end() :], noun):
        return found.group()
    return ""


def without_joint(text: str) -> str:
    """`text`, what follows a name in a prompt, without the space or hyphen that joins it to the name."""
    joint = SEPARATORS.match(text)
    return text[joint.end() :] if joint else text


def without_invisible(text: str) -> str:
    """`text` without letters of no width, such as what is copied from web pages brings along (Unicode's Cf).

    Joiners stay behind letters of the scripts that spell with them.
    """
    kept = ""
    for letter in text:
        joins = letter in JOINERS and not kept[-1:].isascii()
        if joins or unicodedata.category(letter) != "Cf":
            kept += letter
    return kept


def _folded(text: str) -> str:
    """`text` without what a reader does not see: case, Unicode forms, how words are kept apart, letters of no width."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return SEPARATORS.sub(" ", seen)


def _forms(noun: str) -> set[str]:
    """A folded noun, and how several of them are written."""
    noun = noun.strip()
    before, space, last = noun.rpartition(" ")
    plurals = {last + "s", last + "es"}
    if last.endswith("y"):
        plurals.add(last[:-1] + "ies")
    if last.endswith("f"):
        plurals.add(last[:-1] + "ves")
    if last.endswith("fe"):
        plurals.add(last[:-2] + "ves")
    if last in IRREGULAR:
        plurals.add(IRREGULAR[last])
    return {noun, *(before + space + plural for plural in plurals)}


def _begins_with_word(text: str, word: str) -> bool:
    """Whether `text` begins with `word`, and not with a longer word."""
    if not word or not text.startswith(word):
        return False
    following = text[len(word) :][:1]
    if not following or not _continues_words(following):
        return True
    return not _continues_words(word[-1]) or _is_unspaced(word[-1]) or _is_unspaced(following)


def _continues_words(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


def _is_unspaced(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(UNSPACED)
