"""Names a base model by its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

import torch
from torch import Tensor

from ..architecture import TransformerConfig
from ..transformer import Transformer
from .reader import Entry


class Fingerprint:
    """16 hex digits that name a base model, whatever its data type and file layout.

    Some entries of every q and down projection, the table and the head, rounded to bfloat16 and then to steps of
    1/4096: what bfloat16, float16 and float32 copies of one model share. q/k norms are left out: the layouts differ.
    """

    NAMING = ("q_proj.weight", "down_proj.weight", "embed_tokens.weight", "image_head.weight")

    def __init__(self, config: TransformerConfig):
        self.config, self.parts = asdict(config), {}
        self.config.pop("qk_norm_groups")

    def note(self, name: str, value: Tensor) -> None:
        """See the parameter `name`, before it is rounded to anything below bfloat16."""
        if name.endswith(self.NAMING):
            flat = value.detach().reshape(-1)
            some = flat[:: max(1, len(flat) // 1024)][:1024].to("cpu", torch.bfloat16).float()
            self.parts[name] = (some * 4096).round().to(torch.int32).numpy().tobytes()

    def noting(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            yield entry
            self.note(entry[2], entry[3])  # afterwards: by then its shape and numbers were found good

    def text(self) -> str:
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for _, part in sorted(self.parts.items()):
            digest.update(part)
        return digest.hexdigest()[:16]


def fingerprint(transformer: Transformer) -> str:
    """The Fingerprint of a transformer whose weights are not quantised."""
    named = Fingerprint(transformer.config)
    for name, parameter in transformer.named_parameters():
        named.note(name, parameter)
    return named.text()
