"""Random checkpoints on disk in the exact layouts of the 7B, with small dimensions and the real vocabulary."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from ar_core.families import LUMINA_PROTOCOL
from ar_core.image_tokenizer import ImageTokenizer, ImageTokenizerConfig

HIDDEN, LAYERS, HEADS, FFN, VOCABULARY = 32, 2, 4, 48, 65536
VQ = ImageTokenizerConfig(ch=32, ch_mult=(1, 1, 1, 1, 2), num_res_blocks=1, z_channels=8, embed_dim=4, n_embed=8192)


@functools.cache
def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Layout (a): one q/k norm for all heads, no image tokenizer; values that bfloat16 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    random = lambda *shape: (torch.randn(*shape, generator=generator) * 0.1).bfloat16()  # noqa: E731
    tensors = {
        "model.embed_tokens.weight": random(VOCABULARY, HIDDEN),
        "model.norm.weight": 1 + random(HIDDEN),
        "lm_head.weight": random(VOCABULARY, HIDDEN),
    }
    for i in range(LAYERS):
        prefix = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{norm}.weight"] = 1 + random(HIDDEN)
        for name in "qkvo":
            tensors[f"{prefix}self_attn.{name}_proj.weight"] = random(HIDDEN, HIDDEN)
        for name in "qk":
            tensors[f"{prefix}self_attn.{name}_norm.weight"] = 1 + random(1, HIDDEN // HEADS)
            tensors[f"{prefix}self_attn.{name}_norm.bias"] = random(1, HIDDEN // HEADS)
        for name, shape in (("gate", (FFN, HIDDEN)), ("up", (FFN, HIDDEN)), ("down", (HIDDEN, FFN))):
            tensors[f"{prefix}mlp.{name}_proj.weight"] = random(*shape)
    return tensors


@functools.cache
def vq_weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return {k: v.clone() for k, v in ImageTokenizer(VQ).state_dict().items()}


@functools.cache
def tokenizer_text() -> str:
    """A byte-level tokenizer with Chameleon's names and ids: control tokens below 16384, text from there on."""
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    names += [f"IMGIMG{''.join(chr(65 + int(d)) for d in str(i))}Z" for i in range(8192)]
    names += [f"<reserved{i - 4:05d}>" for i in range(len(names), LUMINA_PROTOCOL.first_text)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "d"), ("o", "g"), ("Ġd", "og"), ("Ġ", "a")]
    vocabulary = {name: i for i, name in enumerate([*names, *alphabet, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(names)
    return tokenizer.to_str()


def config() -> dict:
    return {
        "model_type": "chameleon", "architectures": ["ChameleonXLLMXForConditionalGeneration"], "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "model_parallel_size": 1, "swin_norm": False, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
    }  # fmt: skip


def write_lumina(folder: Path, *, dtype=torch.bfloat16, shards: int = 1, seed: int = 0) -> Path:
    """Layout (a), complete: sharded transformer, vqgan.safetensors and tokenizer.json beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_transformer(folder, weights(seed), dtype, shards)
    save_file(vq_weights(), folder / "vqgan.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer_text(), encoding="utf-8")
    return folder


def write_chameleon(folder: Path, *, decoder: bool = True, seed: int = 0) -> Path:
    """Layout (b): one q/k norm per head, the image tokenizer among the weights, with or without its decoder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        k: v.repeat_interleave(HEADS, 0) if "_norm.weight" in k and "self_attn" in k or "_norm.bias" in k else v
        for k, v in weights(seed).items()
    }
    for key, value in vq_weights().items():
        if decoder or not key.startswith(("decoder.", "post_quant_conv.")):
            tensors[f"model.vqmodel.{key}"] = value
    write_transformer(folder, tensors, torch.bfloat16, 1, keep=".vqmodel.")
    (folder / "tokenizer.json").write_text(tokenizer_text(), encoding="utf-8")
    return folder


def write_transformer(folder: Path, tensors: dict, dtype: torch.dtype, shards: int, keep: str = "\0") -> None:
    tensors = {k: (v if keep in k else v.to(dtype)).contiguous() for k, v in tensors.items()}
    (folder / "config.json").write_text(json.dumps(config()), encoding="utf-8")
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return
    names, mapping = list(tensors), {}
    for i in range(shards):
        part = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        save_file({k: tensors[k] for k in names[i::shards]}, folder / part)
        mapping |= dict.fromkeys(names[i::shards], part)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": mapping}), encoding="utf-8")


def write_meta(folder: Path) -> Path:
    """Layout (c): Meta's pickle and text tokenizer, with the loss weights that the pickle carries along."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {**vq_weights(), "loss.logvar": torch.zeros(())}}, folder / "vqgan.ckpt")
    (folder / "text_tokenizer.json").write_text(tokenizer_text(), encoding="utf-8")
    return folder
