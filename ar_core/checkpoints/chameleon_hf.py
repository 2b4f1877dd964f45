"""Format (b): transformers' Chameleon (facebook/chameleon-7b, leloy/Anole-7b-v0.1-hf).

As (a), but with one q/k norm for every head, and the image tokenizer among the weights; only Anole's has a decoder.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..architecture import TransformerConfig
from . import lumina
from .find import Files
from .formats import ImageTokenizerFormat, TransformerFormat
from .reader import Entry, stored_tensors
from .vqgan import build_vqgan, vqgan_tensors

IMAGE_TOKENIZER = "model.vqmodel."


def belongs_to_image_tokenizer(key: str) -> bool:
    """Whether a tensor of this name is the image tokenizer's."""
    return key.startswith(IMAGE_TOKENIZER)


def has_image_tokenizer(files: Files) -> bool:
    """Whether the transformer's files hold the image tokenizer too."""
    return any(belongs_to_image_tokenizer(key) for key in files.tensor_names())


def transformer_entries(files: Files, config: TransformerConfig, dtype: torch.dtype | None) -> Iterator[Entry]:
    """Every tensor of the transformer."""
    return lumina.transformer_entries(files, config, dtype, skipped=belongs_to_image_tokenizer)


def image_tokenizer_tensors(files: Files) -> dict[str, Tensor]:
    """The image tokenizer's tensors by our names. Raises CheckpointError."""
    found = {
        stored.key: stored.read() for stored in stored_tensors(files.weights) if belongs_to_image_tokenizer(stored.key)
    }
    return vqgan_tensors(found, files)


TRANSFORMER = TransformerFormat(
    name="transformers' Chameleon",
    found_in=has_image_tokenizer,
    config=lumina.transformer_config,
    entries=transformer_entries,
    key_of=lumina.key_of,
)
IMAGE_TOKENIZER_AMONG_WEIGHTS = ImageTokenizerFormat(
    name="among the weights of transformers' Chameleon",
    found_in=lambda files: files.image_tokenizer is None,
    tensors=image_tokenizer_tensors,
    build=build_vqgan,
)
