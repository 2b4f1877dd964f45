"""Small random DINO, DINOv2 and CLIP checkpoints on disk, in the layouts of the hub's files."""

from __future__ import annotations

import json
import shutil
import string
from pathlib import Path

import torch

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_encoders(base: Path, dino: str = "dino", clip: str = "clip", *, of_paper: bool = False) -> Path:
    """Folders `dino` and `clip` in `base`. `of_paper`: in all sizes that are looked at those of the real ones."""
    write_vit(base / dino, of_paper)
    write_clip(base / clip, of_paper)
    return base


def write_vit(folder: Path, of_paper: bool = False) -> None:
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    if of_paper:
        sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    config = ViTConfig(**sizes, intermediate_size=48, patch_size=16)
    ViTModel(config).save_pretrained(folder)


def write_dinov2(folder: Path) -> None:
    """In all sizes that are looked at those of dinov2-small."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(1)
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "patch_size": 14, "image_size": 518}
    Dinov2Model(Dinov2Config(**sizes, num_attention_heads=6, mlp_ratio=1)).save_pretrained(folder)


def write_clip(folder: Path, of_paper: bool = False) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

    torch.manual_seed(2)
    part = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    part["hidden_act"] = "quick_gelu"
    letters = [*string.ascii_lowercase, *(f"{c}</w>" for c in string.ascii_lowercase)]
    vocabulary = {token: i for i, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    ids = {"bos_token_id": len(letters), "eos_token_id": len(letters) + 1}
    text = {**part, "vocab_size": len(vocabulary), "max_position_embeddings": 77, **ids}
    vision = {**part, "patch_size": 32, "image_size": 224}
    width = 12
    if of_paper:
        vision["num_hidden_layers"] = vision["num_attention_heads"] = 12
        text["num_attention_heads"] = 8
        width = 512
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width)).save_pretrained(folder)
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[], end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])  # as every transformers wants it
    ends = [(token, vocabulary[token]) for token in ("<|startoftext|>", "<|endoftext|>")]
    raw.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=ends
    )  # transformers 5 adds it by itself
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    CLIPTokenizerFast(tokenizer_object=raw, **names).save_pretrained(folder)


def publish(folder: Path) -> None:
    """Give an encoder's folder the files that facebook/dino-vits16 and openai/clip-vit-base-patch32 have on their main
    branch: weights as a pickle of 2021 alone, preprocessing, and a CLIP's words as vocab.json and merges.txt too."""
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] == "clip":
        tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        tensors["vision_model.embeddings.position_ids"] = torch.arange(50)[None]
        words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        (folder / "vocab.json").write_text(json.dumps(words["vocab"]), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    torch.save(tensors, folder / "pytorch_model.bin")
    weights.unlink()
    config.pop("dtype", None)
    config.update(torch_dtype="float32", transformers_version="4.11.0.dev0")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "preprocessor_config.json").write_text('{"do_resize": true, "size": 224}', encoding="utf-8")


def put_in_cache(folder: Path, cache: Path, name: str) -> Path:
    """Move an encoder's files into the hub's local cache, as it lays them out; returns the snapshot."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for new in (repository / "blobs", repository / "refs", snapshot):
        new.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        shutil.move(path, blob)
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    return snapshot
