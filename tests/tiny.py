"""Random checkpoints on disk in the exact formats of the 7B, with small dimensions and the real vocabulary."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from ar_core.architecture import ImageTokenizerConfig
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from benchmarks import random_checkpoint
from benchmarks.random_checkpoint import Dimensions, random_tensors, tokenizer_text

DIMENSIONS = Dimensions(hidden=32, layers=2, heads=4, inner=48)
VQ = ImageTokenizerConfig(ch=32, ch_mult=(1, 1, 1, 1, 2), num_res_blocks=1, z_channels=8, embed_dim=4, n_embed=8192)


@functools.cache
def transformer_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """As in format (a); values that bfloat16 holds exactly."""
    return dict(random_tensors(DIMENSIONS, seed, std=0.1))


@functools.cache
def vq_weights() -> dict[str, torch.Tensor]:
    """An image tokenizer's, by our names."""
    torch.manual_seed(7)
    return {k: v.clone() for k, v in ImageTokenizer(VQ).state_dict().items()}


def config() -> dict[str, object]:
    """config.json."""
    return random_checkpoint.checkpoint_config(DIMENSIONS)


def write_lumina(folder: Path, *, dtype=torch.bfloat16, shards: int = 1, seed: int = 0) -> Path:
    """Format (a), complete: sharded transformer, vqgan.safetensors and tokenizer.json beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_transformer(folder, transformer_weights(seed), dtype, shards)
    save_file(vq_weights(), folder / "vqgan.safetensors")
    write_tokenizer(folder / "tokenizer.json")
    return folder


def write_chameleon(folder: Path, *, decoder: bool = True, seed: int = 0) -> Path:
    """Format (b): one q/k norm per head, the image tokenizer among the weights, with or without its decoder."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {}
    for key, value in transformer_weights(seed).items():
        is_head_norm = ".q_norm." in key or ".k_norm." in key
        values[key] = value.repeat_interleave(DIMENSIONS.heads, 0) if is_head_norm else value
    for key, value in vq_weights().items():
        if decoder or not key.startswith(("decoder.", "post_quant_conv.")):
            values[f"model.vqmodel.{key}"] = value
    write_transformer(folder, values, torch.bfloat16, 1, keep=".vqmodel.")
    write_tokenizer(folder / "tokenizer.json")
    return folder


def write_meta(folder: Path) -> Path:
    """Format (c): Meta's pickle and text tokenizer, with the loss weights that the pickle carries along."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {**vq_weights(), "loss.logvar": torch.zeros(())}}, folder / "vqgan.ckpt")
    write_tokenizer(folder / "text_tokenizer.json")
    return folder


def write_transformer(folder: Path, values: dict, dtype: torch.dtype, shards: int, keep: str = "\0") -> None:
    """config.json and the weights in so many files; those whose key contains `keep` stay in their own type."""
    values = {k: (v if keep in k else v.to(dtype)).contiguous() for k, v in values.items()}
    (folder / "config.json").write_text(json.dumps(config()), encoding="utf-8")
    if shards == 1:
        save_file(values, folder / "model.safetensors")
        return
    names = list(values)
    mapping = {}
    for i in range(shards):
        part = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        save_file({k: values[k] for k in names[i::shards]}, folder / part)
        mapping |= dict.fromkeys(names[i::shards], part)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": mapping}), encoding="utf-8")


def write_tokenizer(path: Path) -> None:
    path.write_text(tokenizer_text(), encoding="utf-8")
