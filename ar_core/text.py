"""Text: the tokenizer, templates for training prompts, and where an identifier such as [V] goes in a prompt.

Which tokens stand around a prompt is a family's business (`families.protocol`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from .checkpoints.errors import CheckpointError
from .files import read_text
from .quoting import quoted
from .styles import full_name, without_style
from .words import begins_with_noun, possessive_of_subject, without_invisible, without_joint

# Prompts that say nothing about the subject, for training. The paper names Textual Inversion's list of 27 templates
# (Gal et al. 2022, arXiv 2208.01618); these ten are a choice of ours after that list.
NEUTRAL_TEMPLATES = (
    "a photo of {}",
    "a rendition of {}",
    "a cropped photo of {}",
    "the photo of {}",
    "a photo of a clean {}",
    "a close-up photo of {}",
    "a bright photo of {}",
    "a good photo of {}",
    "a photo of one {}",
    "a photo of a nice {}",
)

CLASS_WORDS = 4  # at most
CLASS_LETTERS = 40
# What other software reads in prompts, and this reads as plain words: weights, breaks and files.
FOREIGN = re.compile(r"\([^()]*:\s*[\d.]+\)|\bBREAK\b|\bAND\b|<(?:lora|lyco|hypernet|embedding):[^<>]*>")

BRACKETED = re.compile(r"\[[^\[\]\s]+\]")


class TextError(ValueError):
    """A prompt that cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Identifier:
    """A name in prompts, such as "[V]", whose vectors take the place of `count` reserved tokens from `first_id` on.

    `images`: of how many more tokens, behind those, which stand at the end of a prompt that has the name.
    """

    name: str
    class_name: str
    first_id: int
    count: int
    dropped: bool = False  # leaves the name out of the prompt (strength 0)
    images: int = 0

    @property
    def full_name(self) -> str:
        """What prompts call it: "[V] dog", or "[V]" for a style, which has no class word."""
        return full_name(self.name, self.class_name)

    @property
    def ids(self) -> list[int]:
        """The reserved tokens in place of the name, one per vector."""
        return list(range(self.first_id, self.first_id + self.count))

    @property
    def image_ids(self) -> list[int]:
        """The reserved tokens at the prompt's end."""
        return list(range(self.first_id + self.count, self.first_id + self.tokens))

    @property
    def tokens(self) -> int:
        """How many reserved tokens it takes in all."""
        return self.count + self.images


class TextTokenizer:
    """A `tokenizers` file, such as a model's `tokenizer.json` or Meta's `text_tokenizer.json`.

    Knows ids by name and text by ids, and nothing of what a family does with them.
    """

    def __init__(
        self, tokenizer: Tokenizer, known_words: Iterable[str] | None = None, source: Path | str = "The tokenizer"
    ):
        """`known_words`: all that a small model was trained on; `source`: what errors call the file."""
        self.tokenizer = tokenizer
        tokenizer.no_truncation()  # a file may have been saved with either: prompts would be cut or filled silently
        tokenizer.no_padding()
        self.known_words: frozenset[str] | None = None
        if known_words is not None:
            self.known_words = frozenset(known_words)
        self.source = source

    @classmethod
    def load(cls, path: Path, known_words: Iterable[str] | None = None) -> TextTokenizer:
        """Read a file. Raises CheckpointError."""
        try:
            text = with_joined_merges(read_text(path))
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(
                f"{path} is not a readable tokenizer file ({error}). Copy it again from the model's repository."
            ) from error
        return cls(tokenizer, known_words, path)

    def id_of(self, name: str) -> int:
        """The id of the token called `name`. Raises CheckpointError where there is none."""
        token = self.tokenizer.token_to_id(name)
        if token is None:
            raise CheckpointError(
                f"{self.source} has no token {name}, which the model needs. Put the model's own tokenizer file there, "
                "or choose the model's own family."
            )
        return token

    def first_id_of(self, names: Sequence[str]) -> int:
        """The id of the first of tokens that follow one another. Raises CheckpointError where they do not."""
        first = self.id_of(names[0])
        for offset, name in enumerate(names):
            if self.id_of(name) != first + offset:
                raise CheckpointError(
                    f"{self.source} gives {name} the id {self.id_of(name)}, expected {first + offset}: the tokens "
                    f"{names[0]} to {names[-1]} must follow one another. Put the model's own tokenizer file there."
                )
        return first

    def largest_id(self) -> int:
        """The last id of the vocabulary."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values())

    def special_ids(self) -> frozenset[int]:
        """Ids of the tokens that the file marks as special, wherever in the vocabulary they lie."""
        added = self.tokenizer.get_added_tokens_decoder()
        return frozenset(token for token, properties in added.items() if properties.special)

    def ids_matching(self, pattern: re.Pattern[str]) -> frozenset[int]:
        """Ids of the tokens whose whole name matches."""
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=True)
        return frozenset(token for name, token in vocabulary.items() if pattern.fullmatch(name))

    def tokens(self, text: str) -> list[tuple[int, str]]:
        """Token ids of `text`, each with the piece that it stands for. Names of control tokens become these tokens."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return [(token, text[start:end]) for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)]

    def unknown_words(self, text: str) -> list[str]:
        """Words of `text` the model was never trained on; empty for models that do not keep a list."""
        if self.known_words is None:
            return []
        words = re.findall(r"[^\W\d_]+", BRACKETED.sub(" ", text).lower())
        return sorted({word for word in words if word not in self.known_words})


def with_joined_merges(text: str) -> str:
    """A tokenizer's file with each merge as "a b": tokenizers before 0.20 reads no merge that is a list of two.

    Unchanged where a part has a space, which only the list can say.
    """
    content = json.loads(text)
    model = content.get("model") or {}
    merges = model.get("merges") or []
    if not merges or isinstance(merges[0], str) or any(" " in part for merge in merges for part in merge):
        return text
    model["merges"] = [" ".join(merge) for merge in merges]
    return json.dumps(content, ensure_ascii=False)


def split_at_identifiers(text: str, identifiers: Sequence[Identifier]) -> list[str | Identifier]:
    """`text` cut at the names of `identifiers`: text, identifier, text, ..., text. Pieces of text may be empty."""
    by_name = {identifier.name: identifier for identifier in identifiers}
    pieces: list[str | Identifier] = []
    start = 0
    for match in BRACKETED.finditer(text):
        if match.group() in by_name:
            pieces.append(text[start : match.start()])
            pieces.append(by_name[match.group()])
            start = match.end()
    return [*pieces, text[start:]]


def resolve_prompt(text: str, identifiers: Sequence[Identifier]) -> str:
    """The prompt as it will be read.

    A name that its class word does not follow gets it ("[V] on the beach" -> "[V] dog on the beach", "[V]'s bowl" ->
    "[V] dog's bowl"; "[V] Dogs" is left as it is), a dropped one disappears. "[V]'s dog" is read as "[V] dog". The name
    of a style, which has no class word, is left as it is; a dropped one goes with the "in the style of" before it
    (`without_style`).
    Raises TextError for a bracketed word that names nothing.
    """
    check_letters(text)
    by_name = {identifier.name: identifier for identifier in identifiers}
    for name in map(without_invisible, BRACKETED.findall(text)):
        if name not in by_name:
            known = ", ".join(by_name) or "none: the model is not personalized"
            raise TextError(f"The prompt contains {name}, which names nothing here. Identifiers available: {known}.")
    resolved = ""
    start = 0
    for match in BRACKETED.finditer(text):
        identifier = by_name[without_invisible(match.group())]
        resolved += text[start : match.start()]
        start = match.end()
        if not identifier.class_name and identifier.dropped:
            resolved, behind = without_style(resolved, text[start:])
            start = len(text) - len(behind)
            continue
        if not identifier.class_name:
            resolved += identifier.name
            continue
        start += len(possessive_of_subject(text[start:], identifier.class_name))
        following = text[start:]
        words = [] if identifier.dropped else [identifier.name]
        if not begins_with_noun(following, identifier.class_name):
            words.append(identifier.class_name)
        elif identifier.dropped:
            start += len(following) - len(without_joint(following))
        resolved += " ".join(words)
    resolved += text[start:]
    return resolved.strip()


def without_identifier(prompt: str, class_name: str = "") -> str:
    """The plain sentence that a picture is compared with: "a [V] dog in the jungle" -> "a dog in the jungle".

    A missing `class_name` is put in; without one, as that of a style, names go with the words that lead to them: "a dog
    in the style of [V]" -> "a dog". Raises TextError for half a letter.
    """
    names = dict.fromkeys(map(without_invisible, BRACKETED.findall(prompt)))
    plain = resolve_prompt(prompt, [Identifier(name, class_name, 0, 1, dropped=True) for name in names])
    return " ".join(plain.split())


def check_letters(text: str) -> None:
    """Raise TextError for half a letter, which a broken file name or terminal leaves behind: nobody can read it."""
    for letter in text:
        if "\ud800" <= letter <= "\udfff":
            raise TextError(f"The text holds {ascii(letter)}, which is no letter. Write it again, in UTF-8.")


def plain_words(text: str) -> list[str]:
    """Parts of a prompt that other software would read as weights, breaks or files; here they are words."""
    return FOREIGN.findall(text)


def prompt_hints(prompts: Sequence[str], identifiers: Iterable[Identifier]) -> list[str]:
    """What the user may not have meant: an applied subject that no prompt names, words that are no weights here."""
    lines = []
    for identifier in identifiers:
        if not identifier.dropped and not any(identifier.name in without_invisible(prompt) for prompt in prompts):
            lines.append(f"No prompt names {identifier.name}: write {identifier.full_name} to draw it")
    words = sorted({word for prompt in prompts for word in plain_words(prompt)})
    if words:
        lines.append(f"Read as plain words: {', '.join(words)}")
    return lines


def check_class_name(name: str, style: bool = False) -> str:
    """`name` with single spaces, without letters that nobody sees.

    Raises TextError for anything but a few words for what photos show; nothing at all is one where it may be a `style`.
    """
    name = " ".join(without_invisible(name).split())
    if not name and style:
        return name
    if not name:
        raise TextError('The class name is empty. Give the word for what the photos show, for example "dog".')
    check_letters(name)
    wordless = not any(letter.isalnum() for letter in name)
    if wordless or "[" in name or "]" in name or len(name.split()) > CLASS_WORDS or len(name) > CLASS_LETTERS:
        raise TextError(
            f'The class name {quoted(name)} is not one or two words for what the photos show: write for example "dog" '
            'or "coffee mug", without the identifier.'
        )
    return name


def check_identifier_name(name: str) -> str:
    """`name` with brackets, e.g. "V" -> "[V]", without letters that nobody sees.

    Raises TextError for anything that is not one bracketed word.
    """
    name = without_invisible(name).strip()
    if name and "[" not in name and "]" not in name:
        name = f"[{name}]"
    if not BRACKETED.fullmatch(name):
        raise TextError(f"{quoted(name)} cannot be an identifier: use one word in square brackets, such as [V].")
    check_letters(name)
    return name
