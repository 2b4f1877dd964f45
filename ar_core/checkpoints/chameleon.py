"""The on-disk layouts of Lumina-mGPT and Chameleon -> our dimensions, names and tensors.

(a) Alpha-VLLM's folders: one group of q/k norms, no image tokenizer. (b) transformers' Chameleon and Anole: one q/k
norm per head, the image tokenizer among the weights. (c) Meta's `vqgan.ckpt` and `text_tokenizer.json`, which
supply what (a) lacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from ..architecture import ImageTokenizerConfig, TransformerConfig
from .find import VQ_SOURCES, Files
from .reader import CheckpointError, Entry, check_shape, keys_of, open_file, read_pickle

VQ_PARTS = ("encoder", "quant_conv", "quantize", "post_quant_conv", "decoder")
CODEBOOK = "quantize.embedding.weight"
IGNORED = ("rotary_emb.inv_freq", "position_ids")  # derived values that some files carry along
# What config.json may say about things that are fixed in our transformer.
FIXED = {
    "swin_norm": False,
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "rope_scaling": None,
    "rope_type": "default",
}


def transformer_config(files: Files, head_first: int, head_size: int) -> TransformerConfig:
    """The dimensions in config.json. Raises CheckpointError for a missing one or an architecture we do not have."""
    path = files.folder / "config.json"
    config = {**files.config, **(files.config.get("rope_parameters") or {})}  # nested since transformers 5
    for name, ours in FIXED.items():
        if (config.get(name) or ours) != ours:
            raise CheckpointError(
                f"{path} sets {name} to {config[name]}, which this transformer does not have. Use Lumina-mGPT 7B or another Chameleon model."
            )
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    for name in names:
        if not isinstance(config.get(name), int):
            raise CheckpointError(f"{path} lacks the number {name}. Copy it again from the model's repository.")
    values = {name: config[name] for name in names}
    if values["vocab_size"] < head_first + head_size:
        raise CheckpointError(
            f"{path} has a vocab_size of {values['vocab_size']}, but image codes lie at {head_first} to {head_first + head_size - 1}. "
            "Choose the model's own family."
        )
    return TransformerConfig(
        **values,
        num_key_value_heads=config.get("num_key_value_heads") or values["num_attention_heads"],
        qk_norm_groups=_norm_groups(files),
        rms_norm_eps=config.get("rms_norm_eps") or 1e-5,
        rope_theta=float(config.get("rope_theta") or 10000.0),
        head_first=head_first,
        head_size=head_size,
    )


def _norm_groups(files: Files) -> int:
    """Rows of the q norms: what the tensors say counts, not what config.json says."""
    key = "model.layers.0.self_attn.q_norm.weight"
    for path in files.weights:
        if key in keys_of(path):
            with open_file(path) as file:
                return file.get_slice(key).get_shape()[0]
    raise CheckpointError(f"{key} is in none of the files in {files.folder}. Copy the missing .safetensors file there.")


def transformer_entries(files: Files, config: TransformerConfig) -> Iterator[Entry]:
    """Every tensor of the transformer. Where the embeddings are tied, the table's rows are the head's too."""
    tied = files.config.get("tie_word_embeddings") and not any(
        "lm_head.weight" in keys_of(path) for path in files.weights
    )
    head = "model.embed_tokens.weight" if tied else "lm_head.weight"
    for path in files.weights:
        keys = keys_of(path)
        with open_file(path) as file:
            for key in keys:
                if key.startswith("model.vqmodel.") or key.endswith(IGNORED):
                    continue
                if key == head:
                    table = file.get_slice(key)
                    check_shape(path, key, table.get_shape(), (config.vocab_size, config.hidden_size))
                    rows = table[config.head_first : config.head_first + config.head_size]
                    yield path, key, "image_head.weight", rows.clone()  # no memory in common with a tied table
                if key != "lm_head.weight":
                    yield path, key, key, file.get_tensor(key)


def vq_tensors(files: Files) -> dict[str, Tensor]:
    """The image tokenizer's tensors by our names: the file's prefix and its training losses are left out."""
    paths = (files.vq,) if files.vq else files.weights
    found: dict[str, Tensor] = {}
    for path in paths:
        if path.suffix == ".ckpt":
            found |= read_pickle(path)
            continue
        keys = keys_of(path)
        with open_file(path) as file:
            found |= {key: file.get_tensor(key) for key in keys}
    codebook = next((key for key in found if key.endswith(CODEBOOK)), None)
    if codebook is None:
        raise CheckpointError(
            f"{files.vq or files.folder} holds no image tokenizer (no {CODEBOOK}): {VQ_SOURCES} {files.folder}."
        )
    prefix = codebook.removesuffix(CODEBOOK)
    inside = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    return {key: value for key, value in inside.items() if key.split(".")[0] in VQ_PARTS}


def vq_config(tensors: dict[str, Tensor], saved: dict) -> ImageTokenizerConfig:
    """What the shapes say; they cannot tell the number of norm groups, which is Chameleon's unless config.json says it."""

    def count(prefix: str) -> int:
        return len({key.removeprefix(prefix).split(".")[0] for key in tensors if key.startswith(prefix)})

    ch, channels = tensors["encoder.conv_in.weight"].shape[:2]
    widths = [len(tensors[f"encoder.down.{level}.block.0.conv2.weight"]) for level in range(count("encoder.down."))]
    n_embed, embed_dim = tensors[CODEBOOK].shape
    return ImageTokenizerConfig(
        ch=ch,
        ch_mult=tuple(width // ch for width in widths),
        num_res_blocks=count("encoder.down.0.block."),
        z_channels=len(tensors["encoder.conv_out.weight"]),
        embed_dim=embed_dim,
        n_embed=n_embed,
        patch=math.isqrt(channels // 3),
        norm_groups=saved.get("norm_groups") or math.gcd(32, ch),
    )
