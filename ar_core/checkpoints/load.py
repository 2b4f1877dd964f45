"""Builds the transformer and the image tokenizer from a model's files."""

from __future__ import annotations

import torch
from torch import nn

from ..control import Cancel, Progress, never, silent
from ..image_tokenizer.vqgan import ImageTokenizer
from ..quantization import quantize
from ..transformer import Transformer
from .chameleon import transformer_config, transformer_entries, vq_config, vq_tensors
from .find import VQ_SOURCES, Files
from .fingerprint import Fingerprint
from .reader import CheckpointError, filled, reported


def load_transformer(
    files: Files,
    head_first: int,
    head_size: int,
    *,
    operations=nn,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    quantized: str | None = None,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> tuple[Transformer, str]:
    """The transformer with its image head, on `device` in `dtype`, frozen, and its fingerprint. Raises CheckpointError.

    There is never a second copy in memory, and of the output head only the image codes' rows are read. `quantized`: the
    layers' projections are rounded to this scheme one by one as they are read; the fingerprint is that of the weights in
    the files. Raises QuantizationError.
    """
    model = Transformer(transformer_config(files, head_first, head_size), operations=operations, device="meta")
    count = len(list(model.parameters()))
    if quantized:
        quantize(model, quantized)
    named = Fingerprint(model.config)
    entries = reported(transformer_entries(files, model.config), count, progress, cancel)
    return filled(model, named.noting(entries), files.folder, device, dtype), named.text()


def load_image_tokenizer(files: Files, *, device: torch.device | str | None = None) -> ImageTokenizer:
    """Encoder, codebook and decoder, float32, frozen. Raises CheckpointError."""
    path = files.vq or files.folder
    tensors = vq_tensors(files)
    for part in ("encoder", "decoder"):
        if f"{part}.conv_in.weight" not in tensors:
            raise CheckpointError(f"{path} has no {part}: {VQ_SOURCES} {files.folder}.")
    try:
        model = ImageTokenizer(vq_config(tensors, files.config.get("vq_config") or {}), device="meta")
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} does not hold a whole image tokenizer ({error}). Copy it again.") from error
    return filled(model, ((path, key, key, value) for key, value in tensors.items()), path, device, torch.float32)
