"""Random weights in the two layouts of Janus-Pro's files, without what reads pictures and writes text."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import Tensor

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.checkpoints.find import ModelFolder
from ar_core.checkpoints.janus import DEEPSEEK, TRANSFORMERS, Layout
from ar_core.families.janus_pro import JANUS_PRO_1B, JANUS_PRO_7B, VOCABULARY, JanusFamily
from ar_core.families.protocol import Protocol
from ar_core.files import ensure_folder, write_json, write_tensors, write_text
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.text import TextTokenizer

LAYOUTS = {"deepseek-ai": DEEPSEEK, "transformers": TRANSFORMERS}
VQ = ImageTokenizerConfig(embed_dim=8, n_embed=16384, low_attention=True)
CODE_WIDTH = 8  # numbers of a code in its table
STD = 0.02
# Ids of control tokens: those of the 1B are known, those of the 7B but the first two lie 13 higher (inferred).
NAMED_1B = {
    100000: "<｜begin▁of▁sentence｜>",
    100001: "<｜end▁of▁sentence｜>",
    100002: "<｜▁pad▁｜>",
    100003: "<begin_of_image>",
    100580: "<end_of_image>",
    100581: "<image_placeholder>",
    100582: "<patch_placeholder>",
    100588: "<|User|>",
    100589: "<|Assistant|>",
}
SHIFT_7B = 13
FIRST_SHIFTED = 100002


@dataclass(frozen=True)
class JanusDimensions:
    """Sizes of a model. `shards`: pickles that deepseek-ai's layout has."""

    hidden: int
    layers: int
    heads: int
    inner: int
    rows: int = VOCABULARY
    shards: int = 1
    vq: ImageTokenizerConfig = VQ


SMALL_VQ = replace(VQ, ch=32, ch_mult=(1, 1, 1, 1, 2), num_res_blocks=1, z_channels=32)
SMALL = JanusDimensions(64, 2, 4, 96, shards=2, vq=SMALL_VQ)  # for tests
ONE_B = JanusDimensions(2048, 24, 16, 5632)
SEVEN_B = JanusDimensions(4096, 30, 32, 11008, shards=2)


def dimensions_of(family: JanusFamily) -> JanusDimensions:
    """Those of the published model."""
    return SEVEN_B if family.is_7b else ONE_B


def transformer_config(size: JanusDimensions) -> TransformerConfig:
    """What our transformer is built with when such a checkpoint is loaded."""
    codes = size.vq.n_embed
    return TransformerConfig(
        vocab_size=size.rows + codes,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        rms_norm_eps=1e-6,
        head_first=size.rows,
        head_size=codes,
        head_hidden=size.hidden,
        qk_norm=False,
        folded_codes=True,
    )


def shapes_in(layout: Layout, size: JanusDimensions) -> dict[str, tuple[int, ...]]:
    """Every tensor of the transformer by its name in that layout."""
    codes = size.vq.n_embed
    first, second = layout.projections
    hidden_layer, output_layer = layout.head
    found: dict[str, tuple[int, ...]] = {
        layout.text_table(): (size.rows, size.hidden),
        f"{layout.decoder}norm.weight": (size.hidden,),
        layout.codes: (codes, CODE_WIDTH),
        f"{first}.weight": (size.hidden, CODE_WIDTH),
        f"{first}.bias": (size.hidden,),
        f"{second}.weight": (size.hidden, size.hidden),
        f"{second}.bias": (size.hidden,),
        f"{hidden_layer}.weight": (size.hidden, size.hidden),
        f"{hidden_layer}.bias": (size.hidden,),
        f"{output_layer}.weight": (codes, size.hidden),
        f"{output_layer}.bias": (codes,),
    }
    for number in range(size.layers):
        prefix = f"{layout.decoder}layers.{number}."
        found |= {f"{prefix}{name}.weight": (size.hidden,) for name in ("input_layernorm", "post_attention_layernorm")}
        found |= {f"{prefix}self_attn.{name}_proj.weight": (size.hidden, size.hidden) for name in "qkvo"}
        found |= {f"{prefix}mlp.{name}_proj.weight": (size.inner, size.hidden) for name in ("gate", "up")}
        found[f"{prefix}mlp.down_proj.weight"] = (size.hidden, size.inner)
    return found


def random_tensors(layout: Layout, size: JanusDimensions, seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Names and values in bfloat16: scales around 1, everything else around 0. The same values in either layout."""
    generator = torch.Generator().manual_seed(seed)
    for name, shape in shapes_in(layout, size).items():
        value = torch.empty(shape).normal_(std=STD, generator=generator)
        if name.endswith("norm.weight"):
            value = value + 1
        if name == layout.codes:
            value = value / STD
        yield name, value.bfloat16()
    torch.manual_seed(seed)
    vqgan = ImageTokenizer(size.vq).state_dict()
    levels = len(size.vq.ch_mult)
    for name, value in vqgan.items():
        yield layout.image_tokenizer + image_tokenizer_name(layout, name, levels), value.bfloat16()


def image_tokenizer_name(layout: Layout, ours: str, levels: int) -> str:
    """The name of one of our image tokenizer's tensors in that layout."""
    name = re.sub(r"^decoder\.up\.(\d+)\.", lambda found: f"decoder.up.{levels - 1 - int(found[1])}.", ours)
    if layout is TRANSFORMERS:
        return name
    name = re.sub(r"\.(?:down|up)\.(\d+)\.block\.", r".conv_blocks.\1.res.", name)
    name = re.sub(r"\.(?:down|up)\.(\d+)\.", r".conv_blocks.\1.", name)
    for number, part in enumerate(("block_1", "attn_1", "block_2")):
        name = name.replace(f".mid.{part}.", f".mid.{number}.")
    return name


def checkpoint_config(layout: Layout, size: JanusDimensions) -> dict[str, object]:
    """What config.json holds."""
    language = {
        "model_type": "llama",
        "vocab_size": size.rows,
        "hidden_size": size.hidden,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": 16384,
    }
    if layout is TRANSFORMERS:
        return {"model_type": "janus", "text_config": language, "vq_config": {"embed_dim": CODE_WIDTH}}
    return {
        "model_type": "multi_modality",
        "language_config": language,
        "gen_vision_config": {"cls": "VQ-16", "params": {"image_token_size": size.vq.n_embed, "n_embed": CODE_WIDTH}},
    }


@functools.cache
def janus_tokenizer_text(family: JanusFamily) -> str:
    """tokenizer.json of a byte-level tokenizer with that model's control tokens and hardly any text."""
    names = dict(NAMED_1B)
    if family.is_7b:
        names = {token + SHIFT_7B * (token >= FIRST_SHIFTED): name for token, name in NAMED_1B.items()}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "d"), ("o", "g"), ("Ġd", "og"), ("Ġ", "a")]
    words = [*alphabet, *map("".join, merges)]
    words += [f"unused word {number}" for number in range(len(words), min(names))]
    tokenizer = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    added = []
    for token in range(min(names), max(names) + 1):
        name = names.get(token, f"<unnamed {token}>")
        added.append(AddedToken(name, special=token in names, normalized=False))
    tokenizer.add_tokens(added)
    return tokenizer.to_str()


def janus_protocol(family: JanusFamily, folder: Path = Path()) -> Protocol:
    """The protocol of a published size without its files: all ids are those of the real one, but the text's."""
    config = checkpoint_config(TRANSFORMERS, dimensions_of(family))
    text = TextTokenizer(Tokenizer.from_str(janus_tokenizer_text(family)))
    return family.bind(text, ModelFolder(folder, config, ()))


def write_janus(
    folder: Path, family: JanusFamily, layout: Layout = DEEPSEEK, size: JanusDimensions | None = None
) -> None:
    """A whole model folder; config.json comes last, so that half a folder is no model."""
    size = size or dimensions_of(family)
    ensure_folder(folder)
    tensors = dict(random_tensors(layout, size))
    if layout is TRANSFORMERS:
        write_tensors(folder / "model.safetensors", tensors)
        print(f"wrote {folder / 'model.safetensors'}", flush=True)
    else:
        _write_pickles(folder, tensors, size.shards)
    write_text(folder / "tokenizer.json", janus_tokenizer_text(family))
    write_json(folder / "config.json", checkpoint_config(layout, size))


def _write_pickles(folder: Path, tensors: dict[str, Tensor], shards: int) -> None:
    """One pickle, or several and their index."""
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        print(f"wrote {folder / 'pytorch_model.bin'}", flush=True)
        return
    names = list(tensors)
    shard_of = {
        name: f"pytorch_model-{1 + shards * i // len(names):05d}-of-{shards:05d}.bin" for i, name in enumerate(names)
    }
    for shard in sorted(set(shard_of.values())):
        torch.save({name: tensors[name] for name in names if shard_of[name] == shard}, folder / shard)
        print(f"wrote {folder / shard}", flush=True)
    write_json(folder / "pytorch_model.bin.index.json", {"weight_map": shard_of})


FAMILIES = {family.name: family for family in (JANUS_PRO_1B, JANUS_PRO_7B)}
