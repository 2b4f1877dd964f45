"""Decoding steps over one KV cache: run as they are, recorded (CUDA graphs), or compiled.

What a step needs beside its tokens is here and outlives a picture: the next one of the same shape takes it over, with
what was recorded or compiled. A step's tokens are codes and row ends, never identifiers, so no concept is put in place
there; prompts are read by `read`, which is never recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from ..attention import Attention
from ..cache import KVCache
from ..concepts import Concepts, Entering
from ..decode_kernels import LengthAttention, check_kernel, choose_kernel
from ..quoting import quoted
from ..transformer import Transformer
from .graphs import Graphs
from .rule import guide

BUCKET = 128  # masked attention reads the cache up to the next multiple: few shapes, little waste
ALIGNED = 16  # slots; an attention mask of another length would be padded in every layer on a graphics card
REUSED = 64  # slots; where steps are kept for the next picture, prompts of about the same length share them
ATTENTION = ("masked", "lengths")


@dataclass(frozen=True)
class StepOptions:
    """How steps are run.

    graphs: replay recorded steps on CUDA; elsewhere it changes nothing. The same codes, faster (docs/card); off where
        nothing else is said, since a host such as ComfyUI moves weights, which no card report has covered yet
    compiled: through torch.compile, whose first steps of a shape take long
    attention: "masked", torch's with a mask over the cache's slots; "lengths", a kernel that is told how many slots
        each sequence has: no mask, one shape for a whole picture; CUDA alone, and never run there yet
    """

    graphs: bool = False
    compiled: bool = False
    attention: str = "masked"

    def check(self, device: torch.device, dtype: torch.dtype) -> None:
        """Raise ValueError for an attention that this device does not have."""
        if self.attention not in ATTENTION:
            raise ValueError(f"There is no attention {quoted(self.attention)}. Choose one of: {', '.join(ATTENTION)}.")
        if self.attention == "lengths":
            check_kernel(device, dtype)


class Steps:
    """Runs forward passes of a transformer for so many sequences in one KV cache."""

    def __init__(self, transformer: Transformer, sequences: int, slots: int, cfg: float, options: StepOptions):
        """`sequences`: with the unguided ones, which come last; none of them where `cfg` is 1.

        Raises ValueError as `StepOptions.check` does.
        """
        options.check(transformer.device, transformer.dtype)
        self.transformer = transformer
        self.cfg = cfg
        self.options = options
        self.device = transformer.device
        self.cache = KVCache(transformer.config, sequences, slots, self.device, transformer.dtype)
        self.graphs: Graphs | None = None
        if options.graphs and self.device.type == "cuda":
            self.graphs = Graphs(transformer.parameters, self.device)

    @property
    def guided(self) -> bool:
        """Whether there are unguided sequences; at guidance 1 they would cancel out."""
        return self.cfg != 1

    def suit(self, transformer: Transformer, sequences: int, slots: int, cfg: float, options: StepOptions) -> bool:
        """Whether these could be made with such arguments."""
        keys = self.cache.keys
        same = transformer is self.transformer and cfg == self.cfg and options == self.options
        held = keys.dtype == transformer.dtype and keys.device == transformer.device  # it may have been moved since
        return same and held and keys.shape[1:3] == (sequences, slots)

    def read(self, ids: Tensor, positions: Tensor, lengths: Tensor, concepts: Concepts | None) -> Tensor:
        """Begin a picture: read prompts `ids` (sequences, T); guided logits (images, codes) after each one's last."""
        if self.graphs:
            self.graphs.begin()
        entering = None
        identity_mask = None
        if concepts is not None:
            entering = concepts.placed_in(ids)
            identity_mask = concepts.identity_mask(ids)
        attention = self.cache.at(positions, ids.shape[1], identity_mask)
        hidden = self._hidden(self.transformer.embed(ids), attention, entering)  # (sequences, T, hidden)
        last = hidden[torch.arange(len(ids), device=self.device), lengths - 1]
        return self._guided(last[:, None])[:, 0]

    def __call__(self, ids: Tensor, positions: Tensor, longest: int) -> Tensor:
        """Guided logits (images, T, codes) after each of `ids` (sequences, T), which join the cache at `positions`.

        No sequence is longer than `longest` with them.
        """
        slots = self.cache.slots
        if self.options.attention == "masked":
            slots = min(next_multiple(longest, BUCKET), slots)
        logits = self._logits
        if self.options.compiled:
            logits = partial(compiled_once(Steps._logits), self)
        if self.graphs:
            return self.graphs(logits, ids, positions, slots)
        return logits(ids, positions, slots)

    def _logits(self, ids: Tensor, positions: Tensor, slots: int) -> Tensor:
        return self._guided(self._hidden(self.transformer.embed(ids), self._attention(positions, slots)))

    def _attention(self, positions: Tensor, slots: int) -> Attention:
        if self.options.attention == "masked":
            return self.cache.at(positions, slots)
        return LengthAttention(self.cache, positions, choose_kernel(self.cache, positions.shape[1]))

    def _hidden(self, embeddings: Tensor, attention: Attention, entering: Entering | None = None) -> Tensor:
        return self.transformer(embeddings.to(self.transformer.dtype), attention, entering)

    def _guided(self, hidden: Tensor) -> Tensor:
        """(sequences, T, hidden) -> (images, T, codes)"""
        logits = self.transformer.image_logits(hidden)
        if not self.guided:
            return logits
        conditional, unconditional = logits.chunk(2)
        return guide(conditional, unconditional, self.cfg)


class KeptSteps:
    """The steps of the last picture, for the next one of the same shape: recordings are worth keeping."""

    def __init__(self) -> None:
        self.kept: Steps | None = None

    def get(self, transformer: Transformer, sequences: int, slots: int, cfg: float, options: StepOptions) -> Steps:
        """Those, or new ones; the memory of others is given back before."""
        slots = next_multiple(slots, REUSED)
        if self.kept is None or not self.kept.suit(transformer, sequences, slots, cfg, options):
            self.kept = None
            self.kept = Steps(transformer, sequences, slots, cfg, options)
        return self.kept

    def held_bytes(self) -> int:
        """What the kept cache takes."""
        if self.kept is None:
            return 0
        return self.kept.cache.keys.nbytes + self.kept.cache.values.nbytes


def next_multiple(number: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-number // step) * step


@cache
def compiled_once(function: Callable) -> Callable:
    """`function` through torch.compile: once for all steps, which share what was compiled for a shape."""
    return torch.compile(function)
