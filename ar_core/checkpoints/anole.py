"""An image tokenizer as a safetensors file of its own: leloy/Anole-7b-v0.1-vqvae-hf, and the miniature's."""

from __future__ import annotations

from torch import Tensor

from .find import Files
from .formats import ImageTokenizerFormat
from .reader import stored_tensors
from .vqgan import build_vqgan, vqgan_tensors


def image_tokenizer_tensors(files: Files) -> dict[str, Tensor]:
    """The image tokenizer's tensors by our names. Raises CheckpointError."""
    assert files.image_tokenizer is not None
    return vqgan_tensors({stored.key: stored.read() for stored in stored_tensors([files.image_tokenizer])}, files)


IMAGE_TOKENIZER = ImageTokenizerFormat(
    name="a safetensors file of its own",
    found_in=lambda files: files.image_tokenizer is not None,
    tensors=image_tokenizer_tensors,
    build=build_vqgan,
)
