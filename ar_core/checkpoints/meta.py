"""Format (c): Meta's Chameleon download, `vqgan.ckpt` beside `text_tokenizer.json`.

The file is a pickle, which carries the weights of its training's losses along. The text tokenizer is read like any
other.
"""

from __future__ import annotations

from torch import Tensor

from .find import Files
from .formats import ImageTokenizerFormat
from .reader import read_pickle
from .vqgan import build_vqgan, vqgan_tensors


def image_tokenizer_tensors(files: Files) -> dict[str, Tensor]:
    """The image tokenizer's tensors by our names. Raises CheckpointError."""
    assert files.image_tokenizer is not None
    return vqgan_tensors(read_pickle(files.image_tokenizer, "state_dict"), files)


IMAGE_TOKENIZER = ImageTokenizerFormat(
    name="Meta's pickle",
    found_in=lambda files: files.image_tokenizer is not None and files.image_tokenizer.suffix == ".ckpt",
    tensors=image_tokenizer_tensors,
    build=build_vqgan,
)
