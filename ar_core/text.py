"""Text to token ids: the tokenizer, the generation instruction, and where identifiers go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from .families.protocol import Protocol, Size

# Textual Inversion's neutral templates (Gal et al. 2022, arXiv 2208.01618), as the paper uses them for training.
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

BRACKETED = re.compile(r"\[[^\[\]\s]+\]")


class TextError(ValueError):
    """A prompt that cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Identifier:
    """A name in prompts, such as "[V]", for learned vectors lying over `count` reserved tokens from `first_id` on."""

    name: str
    class_name: str
    first_id: int
    count: int
    dropped: bool = False  # leaves the name out of the prompt (strength 0)

    @property
    def ids(self) -> list[int]:
        return list(range(self.first_id, self.first_id + self.count))


class TextTokenizer:
    """A `tokenizers` file (Lumina's `tokenizer.json`, Meta's `text_tokenizer.json`) under a family's protocol."""

    def __init__(self, tokenizer: Tokenizer, protocol: Protocol, known_words: frozenset[str] | None = None):
        self.tokenizer, self.protocol, self.known_words = tokenizer, protocol, known_words

    @classmethod
    def load(cls, path: Path, protocol: Protocol, known_words: frozenset[str] | None = None) -> TextTokenizer:
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(
                f"{path} is not a readable tokenizer file ({error}). Copy it again from the model's repository."
            ) from error
        return cls(tokenizer, protocol, known_words)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text. Raises TextError where the text spells a control token."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        for token, (start, end) in zip(encoding.ids, encoding.offsets):
            if token < self.protocol.first_text:
                raise TextError(
                    f'The prompt contains "{text[start:end]}", which the model reads as a control token. Remove it from the prompt.'
                )
        return encoding.ids

    def prompt_ids(self, text: str, size: Size, identifiers: tuple[Identifier, ...] = ()) -> list[int]:
        """The human turn: begin token, the instruction around `text`, end of turn.

        Each identifier's name in `text` becomes its reserved tokens. `text` must be final (see `resolve`).
        """
        width, height = size
        filled = self.protocol.instruction.format(width=width, height=height, prompt=text)
        ids, rest = [self.protocol.begin], filled
        for match in BRACKETED.finditer(filled):
            identifier = next((i for i in identifiers if i.name == match.group()), None)
            if identifier is None:
                continue
            before, _, rest = rest.partition(identifier.name)
            ids += self.encode(before.rstrip(" ")) + identifier.ids
        return [*ids, *self.encode(rest), self.protocol.turn_end]

    def unknown_words(self, text: str) -> list[str]:
        """Words of `text` the model was never trained on; empty for models that do not keep a list."""
        if self.known_words is None:
            return []
        words = re.findall(r"[^\W\d_]+", BRACKETED.sub(" ", text).lower())
        return sorted({word for word in words if word not in self.known_words})


def resolve(text: str, identifiers: tuple[Identifier, ...]) -> str:
    """The prompt as it will be read.

    A name that its class word does not follow gets it ("[V] on the beach" -> "[V] dog on the beach"), a dropped
    one disappears. Raises TextError for a bracketed word that names nothing.
    """
    by_name = {identifier.name: identifier for identifier in identifiers}
    for name in BRACKETED.findall(text):
        if name not in by_name:
            known = ", ".join(by_name) or "none: the model is not personalized"
            raise TextError(f"The prompt contains {name}, which names nothing here. Identifiers available: {known}.")
    for name, identifier in by_name.items():
        noun = identifier.class_name
        text = re.sub(rf"{re.escape(name)}(?!\s*{re.escape(noun)}\b)", f"{name} {noun}", text)
        if identifier.dropped:
            text = re.sub(rf"{re.escape(name)}\s*", "", text)
    return " ".join(text.split(" ")).strip()


def check_identifier_name(name: str) -> str:
    """`name` with brackets, e.g. "V" -> "[V]". Raises TextError for anything that is not one bracketed word."""
    name = name.strip()
    if name and "[" not in name and "]" not in name:
        name = f"[{name}]"
    if not BRACKETED.fullmatch(name):
        raise TextError(f'"{name}" cannot be an identifier: use one word in square brackets, such as [V].')
    return name
