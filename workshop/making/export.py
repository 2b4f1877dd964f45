"""Writes the trained miniature in the file layout of the 7B: config, transformer, VQGAN, text tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ar_core.families.miniature import MINIATURE
from ar_core.files import write_json, write_tensors, write_text

from ..world.words import build_tokenizer, known_words, tokenizer_text
from . import image_tokenizer_training, transformer_training
from .checkpointing import lesson_weights
from .plans import IMAGE_TOKENIZER, TRANSFORMER


def export_miniature(training: Path, out: Path) -> None:
    """Turn the checkpoints in `training` into a folder that ARModel.load reads; weights as float16."""
    out.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "chameleon",
        "family": MINIATURE.name,
        "vocab_size": TRANSFORMER.vocab_size,
        "hidden_size": TRANSFORMER.hidden_size,
        "intermediate_size": TRANSFORMER.intermediate_size,
        "num_hidden_layers": TRANSFORMER.num_hidden_layers,
        "num_attention_heads": TRANSFORMER.num_attention_heads,
        "num_key_value_heads": TRANSFORMER.num_key_value_heads,
        "model_parallel_size": TRANSFORMER.qk_norm_groups,
        "rms_norm_eps": TRANSFORMER.rms_norm_eps,
        "rope_theta": TRANSFORMER.rope_theta,
        "swin_norm": False,
        "vq_config": asdict(IMAGE_TOKENIZER),
        "known_words": known_words(),
    }
    write_json(out / "config.json", config)
    write_text(out / "tokenizer.json", tokenizer_text(build_tokenizer()))
    _save(_with_full_head(lesson_weights(training / transformer_training.CHECKPOINT)), out / "model.safetensors")
    _save(lesson_weights(training / image_tokenizer_training.CHECKPOINT), out / "vqgan.safetensors")


def _with_full_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`lm_head.weight` over the whole vocabulary, as the layout has it; rows that are never read are zero."""
    head = torch.zeros(TRANSFORMER.vocab_size, TRANSFORMER.hidden_size)
    head[TRANSFORMER.head_first : TRANSFORMER.head_first + TRANSFORMER.head_size] = weights.pop("image_head.weight")
    return {**weights, "lm_head.weight": head}


def _save(weights: dict[str, Tensor], path: Path) -> None:
    halves = {name: value.half() for name, value in weights.items()}
    write_tensors(path, halves, {"format": "pt", "licence": MINIATURE.licence})
