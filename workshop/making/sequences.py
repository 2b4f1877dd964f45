"""What the transformer learns from: captions and codes as batches of token sequences, put together where it trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ar_core.families.miniature import MINIATURE
from ar_core.families.protocol import Protocol

from .drawings import NONE

UNCAPTIONED = 0.1  # share of sequences without a caption: guidance needs the unconditional model


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Ids (B, T), padded at the end; where the position before each code stands (B, codes), and the codes there."""

    ids: Tensor
    positions: Tensor
    codes: Tensor


class Sequences:
    """Batch number `step`, always the same, whatever was asked before."""

    def __init__(self, codes: Tensor, prompts: Tensor, protocol: Protocol, batch: int, seed: int):
        """`codes` (N, rows, columns) and `prompts` (N, captions, longest) of N scenes, on the device that trains."""
        self.codes = codes.flatten(1)
        self.prompts = prompts
        self.protocol = protocol
        self.batch = batch
        self.seed = seed
        rows, columns = codes.shape[1:]
        block = protocol.image_block([[0] * columns] * rows, MINIATURE.recipe.size)
        self.block = torch.tensor(block, device=codes.device)  # a picture of codes 0, with the ends of its rows
        self.places = torch.arange(rows * (columns + 1), device=codes.device)  # of its codes
        self.places = self.places.view(rows, columns + 1)[:, :columns].flatten()
        self.header = torch.tensor(protocol.header(MINIATURE.recipe.size), device=codes.device)

    def __call__(self, step: int) -> SequenceBatch:
        """The captions and the codes of `batch` scenes; a tenth without a caption."""
        rng = np.random.default_rng([self.seed, step])
        scenes = torch.from_numpy(rng.integers(len(self.codes), size=self.batch))
        choice = torch.from_numpy(rng.integers(self.prompts.shape[1], size=self.batch))
        bare = torch.from_numpy(rng.random(self.batch) < UNCAPTIONED)
        return self.put_together(*(numbers.to(self.codes.device) for numbers in (scenes, choice, bare)))

    def put_together(self, scenes: Tensor, choice: Tensor, bare: Tensor) -> SequenceBatch:
        """Sequences of the scenes with these numbers (B,), each with the caption chosen; `bare` ones without."""
        prompts = self.prompts[scenes, choice].long()
        only_header = torch.full_like(prompts, NONE)
        only_header[:, : len(self.header)] = self.header
        prompts = torch.where(bare[:, None], only_header, prompts)
        lengths = (prompts != NONE).sum(1, keepdim=True)
        codes = self.codes[scenes].long()
        blocks = self.block.repeat(len(scenes), 1)
        blocks[:, self.places] += codes
        width = prompts.shape[1] + len(self.block)
        behind = torch.arange(width, device=prompts.device) - lengths  # where each position stands in the picture
        padding = torch.full_like(blocks, self.protocol.begin)
        prompts = torch.cat([prompts, padding], 1)
        inside = blocks.gather(1, behind.clamp(0, len(self.block) - 1))
        ids = torch.where(behind < 0, prompts, torch.where(behind < len(self.block), inside, self.protocol.begin))
        return SequenceBatch(ids[:, :-1], lengths - 1 + self.places, codes)
