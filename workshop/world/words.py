"""The miniature's text tokenizer: a small byte-level BPE behind Chameleon's layout of control tokens."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ar_core.families.lumina_mgpt import code_name, reserved_name
from ar_core.families.miniature import MINIATURE
from ar_core.text import NEUTRAL_TEMPLATES, with_joined_merges

from .captions import random_caption
from .training_scenes import training_scene

TEXT_TOKENS = 640
NAMED = ("<s>", "<pad>", "</s>", "<unk>")  # the first ids
FIRST_CODE = len(NAMED)
CONTROL_TOKENS = 1104  # named ones, codes, and reserved ones; text has the ids from here on


def training_captions(count: int, seed: int = 0) -> list[str]:
    """Training captions with every neutral template among them."""
    rng = random.Random(f"captions {seed}")
    return [random_caption(rng, training_scene(rng)) for _ in range(count)] + [
        t.format("dog") for t in NEUTRAL_TEMPLATES
    ]


def known_words() -> list[str]:
    """Every word of the training captions."""
    return sorted(set(re.findall(r"[a-z]+", " ".join(training_captions(20000)).lower())))


def control_tokens() -> list[str]:
    """Names of the first CONTROL_TOKENS ids, spelled as Chameleon spells its own."""
    codes = [code_name(code) for code in range(MINIATURE.codes)]
    first_reserved = len(NAMED) + len(codes)
    reserved = [reserved_name(token - len(NAMED)) for token in range(first_reserved, CONTROL_TOKENS)]
    return [*NAMED, *codes, *reserved]


def build_tokenizer() -> Tokenizer:
    """Train the BPE on captions; the first CONTROL_TOKENS ids are control tokens, text comes after them."""
    pattern = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pattern
    trainer = trainers.BpeTrainer(
        vocab_size=TEXT_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    width, height = MINIATURE.recipe.size
    instruction = MINIATURE.instruction.format(width=width, height=height, prompt="{}")
    learner.train_from_iterator([instruction.format(c) for c in training_captions(20000)], trainer)
    learned = _serialised(learner)
    controls = control_tokens()
    vocabulary = {name: i for i, name in enumerate(controls)}
    for token, index in sorted(learned["vocab"].items(), key=lambda item: item[1]):
        vocabulary[token] = len(controls) + index
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=[tuple(m.split(" ") if isinstance(m, str) else m) for m in learned["merges"]]
        )
    )
    tokenizer.pre_tokenizer = pattern
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(controls)
    return tokenizer


def tokenizer_text(tokenizer: Tokenizer) -> str:
    """What `tokenizer.json` holds, in a form that every version of tokenizers reads."""
    content = json.loads(with_joined_merges(tokenizer.to_str()))
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _serialised(tokenizer: Tokenizer) -> dict[str, Any]:
    return json.loads(tokenizer.to_str())["model"]
