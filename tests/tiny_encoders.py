"""Small random DINO and CLIP checkpoints on disk, in the layouts of the hub's files."""

from __future__ import annotations

import string
from pathlib import Path

import torch


def write_encoders(base: Path, dino: str = "dino", clip: str = "clip") -> Path:
    """Folders `dino` and `clip` in `base`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast, ViTConfig, ViTModel

    torch.manual_seed(0)
    vit = ViTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, patch_size=16)
    ViTModel(vit).save_pretrained(base / dino)
    part = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    letters = [*string.ascii_lowercase, *(f"{c}</w>" for c in string.ascii_lowercase)]
    vocabulary = {token: i for i, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    ids = {"bos_token_id": len(letters), "eos_token_id": len(letters) + 1}
    text = {**part, "vocab_size": len(vocabulary), "max_position_embeddings": 77, **ids}
    vision = {**part, "patch_size": 32, "image_size": 224}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(base / clip)
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[], end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])  # as every transformers wants it
    ends = [(token, vocabulary[token]) for token in ("<|startoftext|>", "<|endoftext|>")]
    raw.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=ends
    )  # transformers 5 adds it by itself
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    CLIPTokenizerFast(tokenizer_object=raw, **names).save_pretrained(base / clip)
    return base
