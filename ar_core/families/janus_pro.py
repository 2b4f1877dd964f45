"""Janus-Pro 1B and 7B (Chen et al. 2025, arXiv 2501.17811): their tokens, and a recipe of ours.

A picture is 576 codes, 24 rows of 24, without row ends, sizes or an end; it stops by count. The protocol was read in
deepseek-ai's `conversation.py` and `app_januspro.py`. Ids differ between the two sizes, so each is looked up by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoints.errors import CheckpointError
from ..checkpoints.find import ModelFolder, Sources
from ..files import UnreadableFile, read_json
from ..text import TextTokenizer
from .family import Family
from .lumina_mgpt import ARTIST_RECIPE
from .protocol import Protocol

BEGIN = "<｜begin▁of▁sentence｜>"
END = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
IMAGE_START = "<begin_of_image>"
PLACEHOLDER = "<image_placeholder>"
USER = "<|User|>"
ASSISTANT = "<|Assistant|>"
# Control tokens, whether a file marks them or not. Ordinary letters lie among them, so no number separates the two.
CONTROL = re.compile(r"<\|/?\w+\|>|<｜[^<>]*｜>|<(begin|end)_of_image>|<(image|patch)_placeholder>")
# By the model's type in config.json, the table of its language model: deepseek-ai's layout and transformers'.
LANGUAGE_TABLES = {"multi_modality": "language_config", "janus": "text_config"}
WIDTH_7B = 4096  # channels; transformers' LlamaConfig has the same where config.json leaves it out
VOCABULARY = 102400  # rows of the published models' tables
PLACEHOLDER_1B = 100581  # its id in the 1B's config and tokenizer; in the 7B's it is another


@dataclass(frozen=True, eq=False)
class JanusProtocol(Protocol):
    """A prompt's unguided row is as long as the prompt, and its pads are attended to: the model was trained so."""

    pad: int

    def unguided(self, prompt: Sequence[int]) -> list[int]:
        """The prompt with everything but its first and its last token padded away, an identifier like the rest."""
        return [prompt[0], *[self.pad] * (len(prompt) - 2), prompt[-1]]


@dataclass(frozen=True, kw_only=True, eq=False)
class JanusFamily(Family):
    """A Llama with a table of codes and a head of its own, in deepseek-ai's or transformers' layout."""

    is_7b: bool

    def detect(self, folder: ModelFolder) -> bool:
        language = language_config(folder.config)
        return language is not None and (language.get("hidden_size", WIDTH_7B) == WIDTH_7B) == self.is_7b

    def bind(self, text: TextTokenizer, folder: ModelFolder) -> Protocol:
        rows = text_rows(folder)
        named = [text.id_of(name) for name in (BEGIN, END, PAD, IMAGE_START, PLACEHOLDER, USER, ASSISTANT)]
        self._check_tokenizer(text, folder, rows)
        return JanusProtocol(
            text=text,
            instruction=f"{USER}: {{prompt}}\n\n{ASSISTANT}:",
            begin=text.id_of(BEGIN),
            turn_end=None,
            image_start=text.id_of(IMAGE_START),
            image_end=None,
            row_end=None,
            size_base=None,
            size_unit=self.factor,
            code_base=rows,
            codes=self.codes,
            factor=self.factor,
            identifier_base=rows - self.identifiers,
            identifiers=self.identifiers,
            control=text.special_ids() | text.ids_matching(CONTROL) | set(named),
            pad=text.id_of(PAD),
        )

    def doubt(self, text: TextTokenizer, folder: ModelFolder) -> str:
        if not self.is_7b or not self._is_tokenizer_of_1b(text, text_rows(folder)):
            return ""
        return (
            f"{text.source} has the ids of Janus-Pro 1B's tokenizer, which are reported to differ from the 7B's. If "
            "pictures do not follow prompts, put the 7B's own tokenizer.json there."
        )

    def _check_tokenizer(self, text: TextTokenizer, folder: ModelFolder, rows: int) -> None:
        """Raise CheckpointError for the tokenizer of another model, whose pad or start is an ordinary row here."""
        if rows == VOCABULARY and not self.is_7b and not self._is_tokenizer_of_1b(text, rows):
            raise CheckpointError(
                f"{text.source} is not the tokenizer of {self.title}, which {folder.config_path} describes: "
                f"{PLACEHOLDER} has the id {text.id_of(PLACEHOLDER)}, expected {PLACEHOLDER_1B}. Put the model's own "
                "tokenizer.json there; Janus-1.3B, the model before, cannot be loaded."
            )
        if text.largest_id() >= rows - self.identifiers:
            raise CheckpointError(
                f"{text.source} has the id {text.largest_id()}, but {folder.config_path} only {rows} rows, of which "
                f"the last {self.identifiers} must be free. Put the model's own tokenizer file there."
            )

    def _is_tokenizer_of_1b(self, text: TextTokenizer, rows: int) -> bool:
        """Small models for tests have ids of their own."""
        return rows == VOCABULARY and text.id_of(PLACEHOLDER) == PLACEHOLDER_1B


def language_config(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The table of the language model in a model's config.json, None where it is no Janus-Pro.

    Raises CheckpointError.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in LANGUAGE_TABLES:
        return None
    found = config.get(LANGUAGE_TABLES[kind]) or {}
    if not isinstance(found, dict):
        raise CheckpointError(
            f"config.json has no table {LANGUAGE_TABLES[kind]} ({found!r:.60}). Copy it again from the model's "
            "repository."
        )
    return found


def is_janus_pro(path: Path) -> bool:
    """Whether the folder's config.json describes one, whatever else is there."""
    try:
        config = read_json(path / "config.json")
        return isinstance(config, dict) and language_config(config) is not None
    except (UnreadableFile, CheckpointError, OSError):
        return False


def text_rows(folder: ModelFolder) -> int:
    """Rows of the table of text. Raises CheckpointError."""
    rows = (language_config(folder.config) or {}).get("vocab_size")
    if type(rows) is not int or not 0 < rows <= 2**22:
        raise CheckpointError(
            f"{folder.config_path} has no usable number vocab_size of the language model ({rows!r:.60}). Copy it again "
            "from the model's repository."
        )
    return rows


# Ours: the artist's recipe for Lumina-mGPT at this family's size and with its own sampling. Not tried on the published
# weights yet: no personalization of Janus-Pro from a few photos was found anywhere. Deep concepts are published for
# Lumina-mGPT, whose values stand here; without evidence the strategy stays two_stage.
RECIPE = replace(
    ARTIST_RECIPE,
    cfg=5.0,
    top_k=16384,
    size=(384, 384),
    training_size=None,
)

SOURCES = Sources(
    image_tokenizer=(),  # it lies among the weights
    image_tokenizer_advice="all weight files of deepseek-ai/Janus-Pro or deepseek-community/Janus-Pro",
    tokenizer=("tokenizer.json",),
    tokenizer_advice="tokenizer.json of the model's own repository",
    places=(".",),
)

JANUS_PRO_1B = JanusFamily(
    name="janus-pro-1b",
    title="Janus-Pro 1B, 384 px",
    licence="DeepSeek Licence Agreement 1.0 (commercial use allowed, with use restrictions)",
    licence_notice="DeepSeek Licence Agreement 1.0: whoever passes this file on passes on its use restrictions "
    "(Attachment A) and a copy of the licence, and says what was changed.",
    architecture_name="janus-pro",
    recipe=RECIPE,
    own_recipe_is_papers=False,
    sizes=((384, 384),),
    codes=16384,
    factor=16,
    identifiers=256,
    sources=SOURCES,
    is_7b=False,
)
JANUS_PRO_7B = replace(JANUS_PRO_1B, name="janus-pro-7b", title="Janus-Pro 7B, 384 px", is_7b=True)
