"""Names a base model by its weights, so that what was learned on one model is not applied to another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..architecture import TransformerConfig
from ..transformer import Transformer
from .reader import Entry

# The fields of TransformerConfig that enter the digest. Saved subjects hold it: these never change.
FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "head_first",
    "head_size",
)
# Fields that were added later, each with the value that all models before had. It enters the digest only where it
# differs, or every subject saved before would be one of "another base model".
LATER_FIELDS: dict[str, object] = {"head_hidden": 0, "qk_norm": True, "folded_codes": False}
# Formats of the same model differ in these.
LEFT_OUT = ("qk_norm_groups",)

TABLE = "embed_tokens.weight"
MADE_OF = "image_codes."  # how names begin of what a table's rows of codes were computed from
HEADS = ("image_head.weight", "image_head.hidden.weight", "image_head.output.weight")
NAMING = ("q_proj.weight", "down_proj.weight", TABLE, *HEADS)
SAMPLES = 1024  # numbers of each tensor that are looked at
STEPS = 4096  # per 1: a number is rounded to 1/4096


class Fingerprint:
    """16 hex digits that name a base model, whatever its data type and format.

    A digest of the dimensions, and of some numbers of every q and down projection, the table and the head, rounded to
    bfloat16 and then to steps of 1/4096: what bfloat16, float16 and float32 copies of one model share. q/k norms are
    left out, because their shape depends on the format. Of computed rows, whose last bits differ between machines, what
    they were computed from is looked at instead.
    """

    def __init__(self, config: TransformerConfig):
        self.config = named_fields(config)
        self.parts: dict[str, bytes] = {}

    def note(self, name: str, value: Tensor) -> None:
        """Look at the parameter `name`, before it is rounded to anything below bfloat16."""
        if name.endswith(NAMING) or name.startswith(MADE_OF):
            flat = value.detach().reshape(-1)
            some = flat[:: max(1, len(flat) // SAMPLES)][:SAMPLES].to("cpu", torch.bfloat16).float()
            self.parts[name] = (some * STEPS).round().to(torch.int32).numpy().tobytes()

    def noting(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """`entries`, each noted when the next is asked for: by then its shape and numbers were found good."""
        for entry in entries:
            yield entry
            for name, value in entry.made_of or ((entry.name, entry.value),):
                self.note(name, value)

    def text(self) -> str:
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for _, part in sorted(self.parts.items()):
            digest.update(part)
        return digest.hexdigest()[:16]


def named_fields(config: TransformerConfig) -> dict[str, object]:
    """The dimensions that belong to a model's name."""
    named = {name: getattr(config, name) for name in FIELDS}
    for name, before in LATER_FIELDS.items():
        if getattr(config, name) != before:
            named[name] = getattr(config, name)
    return named


def fingerprint(transformer: Transformer) -> str:
    """The Fingerprint of a transformer whose weights are not quantised.

    Where rows of its table were computed, another one than that of its files: what they were computed from is not here.
    """
    named = Fingerprint(transformer.config)
    for name, parameter in transformer.named_parameters():
        value: Tensor = parameter
        if name.endswith(TABLE) and transformer.config.folded_codes:
            value = parameter[: transformer.config.head_first]
        named.note(name, value)
    return named.text()
