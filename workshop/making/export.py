"""Writes the trained miniature in the file layout of the 7B: config, transformer, VQGAN, text tokenizer."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ar_core.families.miniature import MINIATURE

from ..world.words import build_tokenizer, known_words
from .checkpointing import trained_weights
from .decoder_training import CONFIG as DECODER
from .vq_training import CONFIG as VQ


def export(training: Path, out: Path) -> None:
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
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    build_tokenizer().save(str(out / "tokenizer.json"), pretty=False)
    _save(_with_full_head(trained_weights(training / "decoder_training.safetensors")), out / "model.safetensors")
    _save(trained_weights(training / "vq_training.safetensors"), out / "vqgan.safetensors")


def _with_full_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`lm_head.weight` over the whole vocabulary, as the layout has it; rows that are never read are zero."""
    head = torch.zeros(DECODER.vocab_size, DECODER.hidden_size)
    head[DECODER.head_first : DECODER.head_first + DECODER.head_size] = weights.pop("image_head.weight")
    return {**weights, "lm_head.weight": head}


def _save(weights: dict[str, Tensor], path: Path) -> None:
    save_file(
        {k: v.half().contiguous() for k, v in weights.items()}, path, {"format": "pt", "licence": MINIATURE.licence}
    )
