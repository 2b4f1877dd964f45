"""Builds the transformer and the image tokenizer from a model's files."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import nn

from ..control import Cancel, Progress, never, silent
from ..families.family import Family
from ..families.protocol import Protocol
from ..image_tokenizer.vqgan import ImageTokenizer
from ..quantization import quantize
from ..transformer import Transformer
from . import anole, chameleon_hf, janus, lumina, meta
from .errors import CheckpointError
from .find import Files
from .fingerprint import Fingerprint
from .formats import ImageTokenizerFormat, TransformerFormat
from .reader import Entry, fill_module, report_progress

log = logging.getLogger(__name__)

# The first that is found in a model's files is taken.
TRANSFORMERS = (*janus.JANUS_TRANSFORMERS, chameleon_hf.TRANSFORMER, lumina.TRANSFORMER)
IMAGE_TOKENIZERS = (
    *janus.JANUS_IMAGE_TOKENIZERS,
    chameleon_hf.IMAGE_TOKENIZER_AMONG_WEIGHTS,
    meta.IMAGE_TOKENIZER,
    anole.IMAGE_TOKENIZER,
)

Format = TypeVar("Format", TransformerFormat, ImageTokenizerFormat)


def load_transformer(
    files: Files,
    family: Family,
    protocol: Protocol,
    *,
    operations: Any = nn,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    quantized: str | None = None,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> tuple[Transformer, str]:
    """The transformer with its image head, on `device` in `dtype`, frozen, and its fingerprint.

    There is never a second copy in memory, and of the output head only the image codes' rows are read. `operations`:
    a namespace with torch.nn's layers to build it of. `quantized`: the layers' projections are rounded to this scheme
    one by one as they are read; the fingerprint is that of the weights in the files. Raises CheckpointError, and
    QuantizationError where the scheme needs a package that is not installed.
    """
    form = _found(TRANSFORMERS, files, "transformer")
    model = Transformer(form.config(files, family, protocol), operations=operations, device="meta")
    count = len(list(model.parameters()))
    if quantized:
        quantize(model, quantized)
    named = Fingerprint(model.config)
    entries = report_progress(form.entries(files, model.config, dtype), count, progress, cancel)
    fill_module(model, named.noting(entries), files.path, device, dtype, form.key_of)
    log.info("Read the transformer from %s (%s)", _names(files), form.name)
    return model, named.text()


def load_image_tokenizer(files: Files, *, device: torch.device | str | None = None) -> ImageTokenizer:
    """Encoder, codebook and decoder, float32, frozen. Raises CheckpointError."""
    path = files.image_tokenizer or files.path
    form = _found(IMAGE_TOKENIZERS, files, "image tokenizer")
    tensors = form.tensors(files)
    for part in ("encoder", "decoder"):
        if f"{part}.conv_in.weight" not in tensors:
            raise CheckpointError(
                f"{path} has no {part}: put {files.sources.image_tokenizer_advice} into {files.path}."
            )
    try:
        model = form.build(tensors, files)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} does not hold a whole image tokenizer ({error}). Copy it again.") from error
    fill_module(model, (Entry(path, key, key, value) for key, value in tensors.items()), path, device, torch.float32)
    log.info("Read the image tokenizer from %s (%s)", path, form.name)
    return model


def _found(formats: Iterable[Format], files: Files, part: str) -> Format:
    for form in formats:
        if form.found_in(files):
            return form
    known = ", ".join(form.name for form in formats)
    raise CheckpointError(
        f"{files.path} holds no {part} in a format that can be read ({known}). Copy the model's files again."
    )


def _names(files: Files) -> str:
    return ", ".join(str(path) for path in files.weights)
