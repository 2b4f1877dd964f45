"""The on-disk layouts of Lumina-mGPT and Chameleon -> our modules.

(a) Alpha-VLLM's folders: one group of q/k norms, no image tokenizer. (b) transformers' Chameleon and Anole: one q/k
norm per head, the image tokenizer among the weights. (c) Meta's `vqgan.ckpt` and `text_tokenizer.json`, which
supply what (a) lacks. Every parameter comes from a file or the load fails with a sentence.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .image_tokenizer import ImageTokenizer, ImageTokenizerConfig
from .transformer import Transformer, TransformerConfig

VQ_FILES = ("vqgan.safetensors", "vqvae.safetensors", "vqgan.ckpt")
TOKENIZER_FILES = ("tokenizer.json", "text_tokenizer.json")
PLACES = (".", "tokenizer", "chameleon/tokenizer", "original_tokenizers", "..")  # relative to the model's folder
CODEBOOK = "quantize.embedding.weight"
IGNORED = ("rotary_emb.inv_freq", "position_ids")  # derived values that some files carry along


class CheckpointError(ValueError):
    """Files that cannot be loaded; the message names the file, what was expected, and what to do."""


@dataclass(frozen=True)
class Files:
    """Where a model's parts lie; `vq` is None where they are among the weights."""

    folder: Path
    config: dict
    weights: tuple[Path, ...]
    vq: Path | None
    tokenizer: Path


# ---------------------------------------------------------------- finding files


def find(folder: Path | str, vq: Path | str | None = None, tokenizer: Path | str | None = None) -> Files:
    """Locate every part in `folder` and beside it. Raises CheckpointError naming what is missing and where it goes."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no model folder {folder}. Give the folder that holds config.json and the .safetensors files.")
    config = _read_json(folder / "config.json", "Copy it from the model's repository.")
    if config.get("model_type") != "chameleon":
        raise CheckpointError(
            f'{folder / "config.json"} describes a "{config.get("model_type")}" model; Lumina-mGPT is of the type "chameleon".'
        )
    weights = _weight_files(folder)
    return Files(folder, config, weights, _vq_file(folder, weights, vq), _tokenizer_file(folder, tokenizer))


def _read_json(path: Path, advice: str) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing. {advice}") from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). {advice}") from error


def _weight_files(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        single = folder / "model.safetensors"
        if not single.exists():
            raise CheckpointError(
                f"{folder} has neither model.safetensors nor model.safetensors.index.json. Copy the model's .safetensors files there."
            )
        return (single,)
    names = sorted(set(_read_json(index, "Copy it again from the model's repository.").get("weight_map", {}).values()))
    for name in names:
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name} is missing, though {index.name} lists it. Copy that file into {folder}.")
    return tuple(folder / name for name in names)


def _beside(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder / place / name for place in PLACES for name in names if (folder / place / name).is_file()]


def _vq_file(folder: Path, weights: tuple[Path, ...], given: Path | str | None) -> Path | None:
    if given is not None:
        if not Path(given).is_file():
            raise CheckpointError(f"The image tokenizer's file {given} does not exist. Give vqgan.ckpt or a .safetensors file.")
        return Path(given)
    if any(key.endswith("decoder.conv_in.weight") for path in weights for key in _keys(path)):
        return None
    if found := _beside(folder, VQ_FILES):
        return found[0]
    raise CheckpointError(
        f"The image tokenizer is missing: put vqgan.ckpt (Meta's Chameleon download) or vqgan.safetensors (model.safetensors of "
        f"leloy/Anole-7b-v0.1-vqvae-hf, renamed) into {folder}."
    )


def _tokenizer_file(folder: Path, given: Path | str | None) -> Path:
    if given is not None:
        if not Path(given).is_file():
            raise CheckpointError(f"The text tokenizer's file {given} does not exist. Give tokenizer.json or text_tokenizer.json.")
        return Path(given)
    if found := _beside(folder, TOKENIZER_FILES):
        return found[0]
    raise CheckpointError(
        f"The text tokenizer is missing: put tokenizer.json (from Alpha-VLLM/Lumina-mGPT-7B-768) or text_tokenizer.json "
        f"(Meta's Chameleon download) into {folder}."
    )


def _keys(path: Path) -> list[str]:
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or incomplete ({error}). Copy it again.") from error


# ---------------------------------------------------------------- transformer


def transformer_config(files: Files, head_first: int, head_size: int) -> TransformerConfig:
    """The dimensions in config.json. Raises CheckpointError for a missing one or an architecture we do not have."""
    config, path = files.config, files.folder / "config.json"
    for name, unsupported in (("swin_norm", True), ("attention_bias", True)):
        if config.get(name) == unsupported:
            raise CheckpointError(f"{path} sets {name}, which this transformer does not have. Lumina-mGPT 7B does not use it.")
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    for name in names:
        if not isinstance(config.get(name), int):
            raise CheckpointError(f"{path} lacks the number {name}. Copy it again from the model's repository.")
    values = {name: config[name] for name in names}
    rope = config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta") or 10000.0
    return TransformerConfig(
        **values, num_key_value_heads=config.get("num_key_value_heads", values["num_attention_heads"]),
        qk_norm_groups=_norm_groups(files), rms_norm_eps=config.get("rms_norm_eps", 1e-5), rope_theta=float(rope),
        head_first=head_first, head_size=head_size,
    )  # fmt: skip


def _norm_groups(files: Files) -> int:
    """Rows of the q/k norms: what the tensors say counts, not what config.json says."""
    key = "model.layers.0.self_attn.q_norm.weight"
    for path in files.weights:
        if key in _keys(path):
            with safe_open(path, "pt") as file:
                shape = file.get_slice(key).get_shape()
            return shape[0] if len(shape) == 2 else 1
    raise CheckpointError(f"{key} is in none of the files in {files.folder}. Copy the missing .safetensors file there.")


def load_transformer(
    files: Files, head_first: int, head_size: int, *, operations=nn, device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Transformer:  # fmt: skip
    """The transformer with its image head, on `device` in `dtype`, frozen.

    Built on meta and filled tensor by tensor: there is never a second copy in memory, and of the output head only
    the image codes' rows are read. Raises CheckpointError.
    """
    model = Transformer(transformer_config(files, head_first, head_size), operations=operations, device="meta")
    wanted = dict(model.named_parameters())
    for path in files.weights:
        keys = _keys(path)
        with safe_open(path, "pt") as file:
            for key in keys:
                if key.startswith("model.vqmodel.") or key.endswith(IGNORED):
                    continue
                name = "image_head.weight" if key == "lm_head.weight" else key
                if name not in wanted:
                    raise CheckpointError(
                        f"{path} holds {key}, which this transformer does not have. Is it another model, or loaded twice?"
                    )
                value = file.get_slice(key)
                rows = slice(head_first, head_first + head_size) if key == "lm_head.weight" else slice(None)
                _place(model, name, wanted.pop(name), _checked(path, key, lambda v=value, r=rows: v[r]), path, device, dtype)
    if list(wanted) == ["image_head.weight"] and files.config.get("tie_word_embeddings"):
        table = model.model.embed_tokens.weight
        _place(
            model,
            "image_head.weight",
            wanted.pop("image_head.weight"),
            table[head_first : head_first + head_size].clone(),
            files.folder,
            device,
            dtype,
        )
    if wanted:
        first = "lm_head.weight" if next(iter(wanted)) == "image_head.weight" else next(iter(wanted))
        raise CheckpointError(f"{len(wanted)} tensors are missing in {files.folder}, first {first}. Copy the .safetensors files again.")
    return model.requires_grad_(False).eval()


def _checked(path: Path, key: str, read: Callable[[], Tensor]) -> Tensor:
    """What `read` returns, if the file is whole and every number finite."""
    try:
        value = read()
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged at {key} ({error}). Copy it again.") from error
    if not torch.isfinite(value.sum(dtype=torch.float32)) and not torch.isfinite(value).all():
        raise CheckpointError(f"{path} holds a weight that is not a finite number, in {key}. Copy the file again.")
    return value


def _place(module: nn.Module, name: str, parameter: Tensor, value: Tensor, path: Path, device, dtype) -> None:
    """Make `value` the parameter `name` of a module built on meta."""
    if value.shape != parameter.shape:
        raise CheckpointError(
            f"{name} in {path} has the shape {tuple(value.shape)}, expected {tuple(parameter.shape)} from config.json. The files belong to different models."
        )
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, nn.Parameter(value.to(device, dtype), requires_grad=False))


# ---------------------------------------------------------------- image tokenizer


def load_image_tokenizer(files: Files, *, device: torch.device | str | None = None) -> ImageTokenizer:
    """Encoder, codebook and decoder, float32, frozen. Raises CheckpointError."""
    path = files.vq or files.folder
    weights = _vq_weights(files)
    for part, key in (("encoder", "encoder.conv_in.weight"), ("decoder", "decoder.conv_in.weight")):
        if key not in weights:
            raise CheckpointError(
                f"{path} has no image {part}: put vqgan.ckpt (Meta's Chameleon download) or vqgan.safetensors (model.safetensors of "
                f"leloy/Anole-7b-v0.1-vqvae-hf, renamed) into {files.folder}."
            )
    model = ImageTokenizer(_vq_config(files, weights), device="meta")
    wanted = dict(model.named_parameters())
    for key, value in weights.items():
        if key in wanted:
            _place(model, key, wanted.pop(key), _checked(path, key, lambda v=value: v), path, device, torch.float32)
        elif key.split(".")[0] in ("encoder", "decoder", "quantize", "quant_conv", "post_quant_conv"):
            raise CheckpointError(f"{path} holds {key}, which the image tokenizer does not have. Is it another image tokenizer?")
    if wanted:
        raise CheckpointError(
            f"{len(wanted)} tensors of the image tokenizer are missing in {path}, first {next(iter(wanted))}. Copy the file again."
        )
    return model.requires_grad_(False).eval()


def _vq_weights(files: Files) -> dict[str, Tensor]:
    """The image tokenizer's tensors without their prefix (losses of Meta's training included, if any)."""
    if files.vq is not None and files.vq.suffix == ".ckpt":
        tensors = _read_pickle(files.vq)
    else:
        paths = (files.vq,) if files.vq is not None else files.weights
        tensors = {}
        for path in paths:
            keys = [key for key in _keys(path) if files.vq is not None or ".vqmodel." in key]
            with safe_open(path, "pt") as file:
                tensors |= {key: _checked(path, key, lambda k=key: file.get_tensor(k)) for key in keys}
    codebook = next((key for key in tensors if key.endswith(CODEBOOK)), None)
    if codebook is None:
        raise CheckpointError(f"{files.vq or files.folder} holds no image tokenizer (no {CODEBOOK}). Give vqgan.ckpt or vqgan.safetensors.")
    prefix = codebook.removesuffix(CODEBOOK)
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Meta's vqgan.ckpt: the one pickle in the wild, read as plain tensors only."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors ({str(error).splitlines()[0]}). Copy vqgan.ckpt again."
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise CheckpointError(f'{path} has no "state_dict". Give the vqgan.ckpt of Meta\'s Chameleon download.')
    return content["state_dict"]


def _vq_config(files: Files, weights: dict[str, Tensor]) -> ImageTokenizerConfig:
    """Our own fields in config.json, else what the tensors' shapes say."""
    own = files.config.get("vq_config") or {}
    if "ch_mult" in own:
        return ImageTokenizerConfig(**{**own, "ch_mult": tuple(own["ch_mult"])})
    levels = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder.down."))
    blocks = 1 + max(int(key.split(".")[4]) for key in weights if key.startswith("encoder.down.0.block."))
    ch = weights["encoder.conv_in.weight"].shape[0]
    widths = [weights[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(levels)]
    n_embed, embed_dim = weights[CODEBOOK].shape
    z_channels = weights["encoder.conv_out.weight"].shape[0]
    return ImageTokenizerConfig(ch, tuple(width // ch for width in widths), blocks, z_channels, embed_dim, n_embed)


# ---------------------------------------------------------------- identity


def fingerprint(transformer: Transformer) -> str:
    """16 hex digits that name a base model, whatever its data type and file layout.

    Some entries of every q and down projection, the table and the head, rounded to bfloat16 and then to steps of
    1/4096: what bfloat16, float16 and float32 copies of one model share. q/k norms are left out: the layouts differ.
    """
    digest = hashlib.sha256()
    config = asdict(transformer.config)
    config.pop("qk_norm_groups")
    digest.update(json.dumps(config, sort_keys=True).encode())
    for name, parameter in sorted(transformer.named_parameters()):
        if name.endswith(("q_proj.weight", "down_proj.weight", "embed_tokens.weight", "image_head.weight")):
            flat = parameter.detach().reshape(-1)
            some = flat[:: max(1, len(flat) // 1024)][:1024].to("cpu", torch.bfloat16).float()
            digest.update((some * 4096).round().to(torch.int32).numpy().tobytes())
    return digest.hexdigest()[:16]
