"""Writes the trained miniature in the file layout of the 7B: config, transformer, VQGAN, text tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ar_core.families.miniature import MINIATURE
from ar_core.files import write_json, write_tensors, write_text

from ..world.words import build_tokenizer, known_words, tokenizer_text
from .checkpointing import trained_weights
from .decoder_training import CONFIG as DECODER
from .vq_training import CONFIG as VQ


def export_miniature(training: Path, out: Path) -> None:
    """Turn the checkpoints in `training` into a folder that ARModel.load reads; weights as float16."""
    out.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "chameleon",
        "family": MINIATURE.name,
        "vocab_size": DECODER.vocab_size,
        "hidden_size": DECODER.hidden_size,
        "intermediate_size": DECODER.intermediate_size,
        "num_hidden_layers": DECODER.num_hidden_layers,
        "num_attention_heads": DECODER.num_attention_heads,
        "num_key_value_heads": DECODER.num_key_value_heads,
        "model_parallel_size": DECODER.qk_norm_groups,
        "rms_norm_eps": DECODER.rms_norm_eps,
        "rope_theta": DECODER.rope_theta,
        "swin_norm": False,
        "vq_config": asdict(VQ),
        "known_words": known_words(),
    }
    write_json(out / "config.json", config)
    write_text(out / "tokenizer.json", tokenizer_text(build_tokenizer()))
    _save(_with_full_head(trained_weights(training / "decoder_training.safetensors")), out / "model.safetensors")
    _save(trained_weights(training / "vq_training.safetensors"), out / "vqgan.safetensors")


def _with_full_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`lm_head.weight` over the whole vocabulary, as the layout has it; rows that are never read are zero."""
    head = torch.zeros(DECODER.vocab_size, DECODER.hidden_size)
    head[DECODER.head_first : DECODER.head_first + DECODER.head_size] = weights.pop("image_head.weight")
    return {**weights, "lm_head.weight": head}


def _save(weights: dict[str, Tensor], path: Path) -> None:
    halves = {name: value.half() for name, value in weights.items()}
    write_tensors(path, halves, {"format": "pt", "licence": MINIATURE.licence})
