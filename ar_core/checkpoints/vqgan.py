"""What the formats that store a VQGAN share: names of its tensors, and its dimensions from their shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from ..architecture import ImageTokenizerConfig
from ..image_tokenizer.vqgan import ImageTokenizer
from .errors import CheckpointError
from .find import Files

PARTS = ("encoder", "quant_conv", "quantize", "post_quant_conv", "decoder")
CODEBOOK = "quantize.embedding.weight"


def vqgan_tensors(found: Mapping[str, Tensor], files: Files) -> dict[str, Tensor]:
    """The VQGAN's tensors by our names: the prefix of their keys and the training's losses are left out.

    Raises CheckpointError where there are none.
    """
    codebook = next((key for key in found if key.endswith(CODEBOOK)), None)
    if codebook is None:
        raise CheckpointError(
            f"{files.image_tokenizer or files.path} holds no image tokenizer (no {CODEBOOK}): "
            f"put {files.sources.image_tokenizer_advice} into {files.path}."
        )
    prefix = codebook.removesuffix(CODEBOOK)
    tensors = {}
    for key, value in found.items():
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and name.split(".")[0] in PARTS:
            tensors[name] = value
    return tensors


def vqgan_config(tensors: Mapping[str, Tensor], saved: Mapping[str, int]) -> ImageTokenizerConfig:
    """What the shapes say. They cannot tell the number of norm groups: `saved` may, else it is Chameleon's.

    Raises KeyError for a tensor that is missing.
    """

    def count(prefix: str) -> int:
        return len({key.removeprefix(prefix).split(".")[0] for key in tensors if key.startswith(prefix)})

    ch, channels = tensors["encoder.conv_in.weight"].shape[:2]
    levels = range(count("encoder.down."))
    widths = [len(tensors[f"encoder.down.{level}.block.0.conv2.weight"]) for level in levels]
    n_embed, embed_dim = tensors[CODEBOOK].shape
    groups = saved.get("norm_groups") or math.gcd(32, ch)
    if type(groups) is not int or groups < 1 or ch % groups:
        raise ValueError(f"norm_groups is {groups!r:.60}")
    return ImageTokenizerConfig(
        ch=ch,
        ch_mult=tuple(width // ch for width in widths),
        num_res_blocks=count("encoder.down.0.block."),
        z_channels=len(tensors["encoder.conv_out.weight"]),
        embed_dim=embed_dim,
        n_embed=n_embed,
        patch=math.isqrt(channels // 3),
        norm_groups=groups,
        low_attention=f"encoder.down.{len(levels) - 1}.attn.0.q.weight" in tensors,
    )


def build_vqgan(tensors: Mapping[str, Tensor], files: Files) -> ImageTokenizer:
    """An ImageTokenizer on meta that `tensors` fill."""
    return ImageTokenizer(vqgan_config(tensors, files.table("vq_config")), device="meta")
