"""Random weights in the exact layouts of published files: what can be tried without the real ones.

    python -m benchmarks.random_checkpoint FOLDER [--family NAME] [--layout NAME]

writes a model of the published dimensions: Lumina-mGPT 7B (14 GB, a few minutes), Janus-Pro 1B or 7B in deepseek-ai's
layout or transformers' (3 and 14 GB, held in memory while they are written). It draws noise, and needs as much memory
and time as the real one.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from ar_core.architecture import ImageTokenizerConfig
from ar_core.families.family import Family
from ar_core.families.janus_pro import JanusFamily
from ar_core.families.lumina_mgpt import LUMINA_768, LuminaFamily, code_name, reserved_name
from ar_core.families.protocol import Protocol
from ar_core.files import write_json, write_tensors, write_text
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.text import TextTokenizer

from .common import janus_files

CONTROL_TOKENS = 16384  # ids that are not text in Chameleon's tokenizer
# Tokens of Chameleon's that are called by another name than their number.
NAMED = {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>", 8196: "<eoss>", 8197: "<racm3:break>", 8711: "<image>"}
FIRST_CODE = 4


@dataclass(frozen=True)
class Dimensions:
    """Sizes of a transformer in Lumina-mGPT's layout."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int = 65536


SEVEN_B = Dimensions(4096, 32, 32, 11008)
SHARDS = 4


def checkpoint_config(size: Dimensions) -> dict[str, object]:
    """What config.json holds."""
    return {
        "model_type": "chameleon",
        "architectures": ["ChameleonXLLMXForConditionalGeneration"],
        "vocab_size": size.vocabulary,
        "hidden_size": size.hidden,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "model_parallel_size": 1,
        "swin_norm": False,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
    }


def checkpoint_shapes(size: Dimensions) -> dict[str, tuple[int, ...]]:
    """Every tensor of the transformer; one q/k norm for all heads, no image tokenizer."""
    square = (size.hidden, size.hidden)
    norm = (1, size.hidden // size.heads)
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (size.vocabulary, size.hidden),
        "model.norm.weight": (size.hidden,),
        "lm_head.weight": (size.vocabulary, size.hidden),
    }
    for layer in range(size.layers):
        prefix = f"model.layers.{layer}."
        found |= {f"{prefix}{name}.weight": (size.hidden,) for name in ("input_layernorm", "post_attention_layernorm")}
        found |= {f"{prefix}self_attn.{name}_proj.weight": square for name in "qkvo"}
        found |= {f"{prefix}self_attn.{name}_norm.{part}": norm for name in "qk" for part in ("weight", "bias")}
        found |= {f"{prefix}mlp.{name}_proj.weight": (size.inner, size.hidden) for name in ("gate", "up")}
        found[f"{prefix}mlp.down_proj.weight"] = (size.hidden, size.inner)
    return found


def random_tensors(size: Dimensions, seed: int = 0, std: float = 0.02) -> Iterator[tuple[str, Tensor]]:
    """Names and values in bfloat16, one after the other: scales around 1, everything else around 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, shape in checkpoint_shapes(size).items():
        value = torch.empty(shape).normal_(std=std, generator=generator)
        if "norm.weight" in name:
            value = value + 1
        yield name, value.bfloat16()


def control_name(token: int) -> str:
    """What Chameleon's tokenizer calls one of its first CONTROL_TOKENS ids."""
    if token in NAMED:
        return NAMED[token]
    if token < FIRST_CODE + LUMINA_768.codes:
        return code_name(token - FIRST_CODE)
    return reserved_name(token - 4)


@functools.cache
def tokenizer_text() -> str:
    """tokenizer.json of a byte-level tokenizer with Chameleon's names and ids of control tokens and hardly any text."""
    names = [control_name(token) for token in range(CONTROL_TOKENS)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "d"), ("o", "g"), ("Ġd", "og"), ("Ġ", "a")]
    vocabulary = {name: i for i, name in enumerate([*names, *alphabet, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(names)
    return tokenizer.to_str()


@functools.cache
def protocol_of(family: Family) -> Protocol:
    """A family's protocol without its tokenizer's file: all ids are those of the real one, but the text's."""
    if isinstance(family, JanusFamily):
        return janus_files.janus_protocol(family)
    assert isinstance(family, LuminaFamily)
    return family.bind(TextTokenizer(Tokenizer.from_str(tokenizer_text())))


def write_checkpoint(folder: Path, size: Dimensions = SEVEN_B, vq: ImageTokenizerConfig | None = None) -> None:
    """A whole model folder, a shard at a time; config.json comes last, so that half a folder is no model."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(checkpoint_shapes(size))
    shard_of = {
        name: f"model-{1 + SHARDS * i // len(names):05d}-of-{SHARDS:05d}.safetensors" for i, name in enumerate(names)
    }
    held: dict[str, Tensor] = {}
    for index, (name, value) in enumerate(random_tensors(size)):
        held[name] = value
        if index + 1 == len(names) or shard_of[names[index + 1]] != shard_of[name]:
            write_tensors(folder / shard_of[name], held)
            print(f"wrote {folder / shard_of[name]}", flush=True)
            held = {}
    write_json(folder / "model.safetensors.index.json", {"weight_map": shard_of})
    write_text(folder / "tokenizer.json", tokenizer_text())
    torch.manual_seed(0)
    write_tensors(folder / "vqgan.safetensors", ImageTokenizer(vq or ImageTokenizerConfig()).state_dict())
    write_json(folder / "config.json", checkpoint_config(size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=(LUMINA_768.name, *janus_files.FAMILIES), default=LUMINA_768.name)
    parser.add_argument("--layout", choices=janus_files.LAYOUTS, default="deepseek-ai", help="of Janus-Pro's files")
    chosen = parser.parse_args()
    if chosen.family == LUMINA_768.name:
        write_checkpoint(chosen.folder)
        return
    layout = janus_files.LAYOUTS[chosen.layout]
    janus_files.write_janus(chosen.folder, janus_files.FAMILIES[chosen.family], layout)


if __name__ == "__main__":
    main()
