"""Random Janus-Pro checkpoints with small dimensions in both published layouts, and transformers' model of the same."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from ar_core import ARModel
from ar_core.families.janus_pro import JANUS_PRO_1B

ROWS = 1024  # of the table of text
SIDE = 64  # pixels: 16 codes, as fast as they come
SIZE = (SIDE, SIDE)
# In the order of the 1B's ids; the last ones are marked special, an ordinary letter before them is not.
ADDED = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "ș", "<｜▁pad▁｜>", "<begin_of_image>", "<end_of_image>")
LAST = ("<image_placeholder>", "<patch_placeholder>", "<|ref|>", "<|/ref|>", "<|User|>", "<|Assistant|>")
# transformers' names with deepseek-ai's, the first that fits.
DEEPSEEK = (
    (r"^model\.language_model\.", "language_model.model."),
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^model\.generation_embeddings\.", "gen_embed."),
    (r"^model\.generation_aligner\.fc1\.", "gen_aligner.layers.0."),
    (r"^model\.generation_aligner\.hidden_layers\.0\.", "gen_aligner.layers.2."),
    (r"^model\.generation_head\.proj_out\.", "gen_head.output_mlp_projector."),
    (r"^model\.generation_head\.", "gen_head."),
    (r"^model\.(vision_model|aligner)\.", r"\1."),
    (r"^model\.vqmodel\.(encoder|decoder)\.mid\.block_1\.", r"gen_vision_model.\1.mid.0."),
    (r"^model\.vqmodel\.(encoder|decoder)\.mid\.attn_1\.", r"gen_vision_model.\1.mid.1."),
    (r"^model\.vqmodel\.(encoder|decoder)\.mid\.block_2\.", r"gen_vision_model.\1.mid.2."),
    (r"^model\.vqmodel\.(encoder|decoder)\.(?:down|up)\.(\d)\.block\.", r"gen_vision_model.\1.conv_blocks.\2.res."),
    (r"^model\.vqmodel\.(encoder|decoder)\.(?:down|up)\.", r"gen_vision_model.\1.conv_blocks."),
    (r"^model\.vqmodel\.", "gen_vision_model."),
)


def config() -> Any:
    """One level has more channels than the others, so that a wrong order of levels cannot be loaded."""
    from transformers import JanusConfig  # not in old versions: tests that need it are skipped there

    return JanusConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": ROWS,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "rms_norm_eps": 1e-6,
            "pad_token_id": None,
        },
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "projection_dim": 64,
        },
        vq_config={
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1, 2],
            "num_res_blocks": 1,
            "latent_channels": 32,
            "projection_dim": 64,
            "image_token_embed_dim": 64,
        },
        tie_word_embeddings=False,
    )


@functools.cache
def reference() -> Any:
    """transformers' model. Its numbers are large enough that a mistake shows, and ones that bfloat16 holds exactly."""
    from transformers import JanusForConditionalGeneration

    with torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(0)
        model = JanusForConditionalGeneration(config()).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 or name.endswith("bias"):
                parameter.normal_(std=0.1)
            parameter.copy_(parameter.bfloat16())
        rows = model.model.vqmodel.quantize.embedding.weight
        rows.mul_(torch.rand(len(rows), 1) + 0.5).copy_(rows.bfloat16())  # of many lengths
        model.model.generation_embeddings.weight.normal_()
        model.model.generation_embeddings.weight.copy_(model.model.generation_embeddings.weight.bfloat16())
    return model


def weights() -> dict[str, torch.Tensor]:
    """By transformers' names."""
    return {key: value.bfloat16() for key, value in reference().state_dict().items()}


def deepseek_weights() -> dict[str, torch.Tensor]:
    """By deepseek-ai's names, with what its files carry along."""
    found = {}
    for key, value in weights().items():
        for pattern, theirs in DEEPSEEK:
            name, count = re.subn(pattern, theirs, key)
            if count:
                found[name] = value
                break
    found["gen_vision_model.quantize.codebook_used"] = torch.zeros(65536)
    return found


def deepseek_config() -> dict[str, object]:
    """As deepseek-ai writes it: little of the language model."""
    whole = config().text_config.to_dict()
    kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {
        "model_type": "multi_modality",
        "architectures": ["MultiModalityCausalLM"],
        "language_config": {"model_type": "llama", "torch_dtype": "bfloat16", **{name: whole[name] for name in kept}},
        "gen_vision_config": {"cls": "VQ-16", "params": {"image_token_size": 16384, "n_embed": 8}},
    }


def write_transformers(folder: Path, changes: dict[str, torch.Tensor] | None = None) -> Path:
    """transformers' layout."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({**weights(), **(changes or {})}, folder / "model.safetensors")
    (folder / "config.json").write_text(config().to_json_string(), encoding="utf-8")
    write_tokenizer(folder / "tokenizer.json")
    return folder


def write_deepseek(folder: Path, *, shards: int = 1, pickled: bool = True) -> Path:
    """deepseek-ai's layout: pickles with or without an index, or a safetensors copy."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = deepseek_weights()
    (folder / "config.json").write_text(json.dumps(deepseek_config()), encoding="utf-8")
    write_tokenizer(folder / "tokenizer.json")
    if not pickled:
        save_file(tensors, folder / "model.safetensors")
    elif shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        names = list(tensors)
        weight_map = {}
        for number in range(shards):
            part = f"pytorch_model-{number + 1:05d}-of-{shards:05d}.bin"
            torch.save({name: tensors[name] for name in names[number::shards]}, folder / part)
            weight_map |= dict.fromkeys(names[number::shards], part)
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


@functools.cache
def tokenizer_text() -> str:
    """A byte-level tokenizer with Janus-Pro's control tokens at high ids, and hardly any text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "d"), ("o", "g"), ("Ġd", "og"), ("Ġ", "a")]
    words = [*alphabet, *map("".join, merges)]
    added = [*ADDED, *LAST]
    tokenizer = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_tokens([AddedToken(name, special=name != "ș", normalized=False) for name in added])
    return tokenizer.to_str()


def write_tokenizer(path: Path) -> None:
    path.write_text(tokenizer_text(), encoding="utf-8")


def small(model: ARModel) -> ARModel:
    """`model`, whose pictures are of SIZE."""
    family = replace(JANUS_PRO_1B, sizes=(SIZE,), recipe=replace(JANUS_PRO_1B.recipe, size=SIZE))
    return replace(model, family=family)
