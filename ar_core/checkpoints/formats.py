"""What a file of this package says about one published format: whether a model is stored so, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..architecture import TransformerConfig
from ..families.family import Family
from ..families.protocol import Protocol
from ..image_tokenizer.vqgan import ImageTokenizer
from .find import Files
from .reader import Entry


@dataclass(frozen=True)
class TransformerFormat:
    """How a folder stores a transformer.

    `config` gives the dimensions; what config.json leaves out comes from the family, and which rows the output head has
    from the protocol. `entries` yields every tensor under our name for it, also where a file stores it in other parts;
    what is computed is computed in the type that it will be held in. `key_of`: the name in the files of a parameter.
    """

    name: str
    found_in: Callable[[Files], bool]
    config: Callable[[Files, Family, Protocol], TransformerConfig]
    entries: Callable[[Files, TransformerConfig, torch.dtype | None], Iterator[Entry]]
    key_of: Callable[[str], str]


@dataclass(frozen=True)
class ImageTokenizerFormat:
    """How a folder stores an image tokenizer.

    `tensors` gives the tensors by our names; `build` makes the module, on meta, that they fill. It raises KeyError or
    ValueError where tensors that its dimensions are read from are missing.
    """

    name: str
    found_in: Callable[[Files], bool]
    tensors: Callable[[Files], dict[str, Tensor]]
    build: Callable[[dict[str, Tensor], Files], ImageTokenizer]
