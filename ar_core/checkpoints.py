"""The on-disk layouts of Lumina-mGPT and Chameleon -> our modules.

(a) Alpha-VLLM's folders: one group of q/k norms, no image tokenizer. (b) transformers' Chameleon and Anole: one q/k
norm per head, the image tokenizer among the weights. (c) Meta's `vqgan.ckpt` and `text_tokenizer.json`, which
supply what (a) lacks. Every parameter comes from a file or the load fails with a clear message.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .control import Cancel, Progress, never, silent, stop_if
from .image_tokenizer import ImageTokenizer, ImageTokenizerConfig
from .quantization import QuantizedLinear, quantize
from .transformer import Transformer, TransformerConfig

VQ_FILES = ("vqgan.safetensors", "vqvae.safetensors", "vqgan.ckpt")
TOKENIZER_FILES = ("tokenizer.json", "text_tokenizer.json")
PLACES = (".", "tokenizer", "chameleon/tokenizer", "original_tokenizers", "..")  # relative to the model's folder
VQ_SOURCES = (
    "put vqgan.ckpt (Meta's Chameleon download) or vqgan.safetensors (model.safetensors of leloy/Anole-7b-v0.1-vqvae-hf, renamed) into"
)

VQ_PARTS = ("encoder", "quant_conv", "quantize", "post_quant_conv", "decoder")
CODEBOOK = "quantize.embedding.weight"
DECODER = "decoder.conv_in.weight"
IGNORED = ("rotary_emb.inv_freq", "position_ids")  # derived values that some files carry along
# What config.json may say about things that are fixed in our transformer.
FIXED = {
    "swin_norm": False, "attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "rope_scaling": None, "rope_type": "default",
}  # fmt: skip


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

    @property
    def size(self) -> int:
        """Bytes of weights."""
        return sum(path.stat().st_size for path in self.weights)


# ---------------------------------------------------------------- finding and opening files


def find(folder: Path | str, vq: Path | str | None = None, tokenizer: Path | str | None = None) -> Files:
    """Locate every part in `folder` and beside it. Raises CheckpointError naming what is missing and where it goes."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no model folder {folder}. Give the folder that holds config.json and the .safetensors files.")
    for given in (vq, tokenizer):
        if given is not None and not Path(given).is_file():
            raise CheckpointError(f"There is no file {given}. Leave it out to use what lies beside the model's weights.")
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "chameleon":
        raise CheckpointError(
            f'{folder / "config.json"} describes a "{config.get("model_type")}" model; Lumina-mGPT is of the type "chameleon".'
        )
    weights = _weight_files(folder)
    vq = Path(vq) if vq is not None else _vq_file(folder, weights)
    tokenizer = Path(tokenizer) if tokenizer is not None else _tokenizer_file(folder)
    return Files(folder, config, weights, vq, tokenizer)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        problem = "cannot be read (it is no JSON object)"
    except FileNotFoundError:
        problem = "is missing"
    except (ValueError, OSError) as error:
        problem = f"cannot be read ({error})"
    raise CheckpointError(f"{path} {problem}. Copy it from the model's repository.")


def _weight_files(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set((_read_json(index).get("weight_map") or {}).values()))
    for name in names:
        if not (folder / name).is_file():
            lister = f"{index.name} lists it" if index.exists() else f"there is no {index.name} either"
            raise CheckpointError(f"{folder / name} is missing ({lister}). Copy the model's .safetensors files into {folder}.")
    return tuple(folder / name for name in names)


def _vq_file(folder: Path, weights: tuple[Path, ...]) -> Path | None:
    """The first source with a decoder: the weights themselves, or a file beside them."""
    if any(key.endswith(DECODER) for path in weights for key in _keys(path)):
        return None
    found = _beside(folder, VQ_FILES)
    for path in found:
        if path.suffix == ".ckpt" or any(key.endswith(DECODER) for key in _keys(path)):  # Meta's has one; looking is slow
            return path
    problem = f"{found[0]} has no decoder" if found else "The image tokenizer is missing"
    raise CheckpointError(f"{problem}: {VQ_SOURCES} {folder}.")


def _tokenizer_file(folder: Path) -> Path:
    if found := _beside(folder, TOKENIZER_FILES):
        return found[0]
    raise CheckpointError(
        "The text tokenizer is missing: put tokenizer.json (Alpha-VLLM/Lumina-mGPT-7B-768) or text_tokenizer.json "
        f"(Meta's Chameleon download) into {folder}."
    )


def _beside(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder / place / name for place in PLACES for name in names if (folder / place / name).is_file()]


@contextmanager
def _open(path: Path) -> Iterator[safe_open]:
    """A safetensors file; its tensors are views of the file, so nothing is read before it is used."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or incomplete ({error}). Copy it again.") from error


def _keys(path: Path) -> list[str]:
    with _open(path) as file:
        return list(file.keys())


# ---------------------------------------------------------------- transformer


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
        **values, num_key_value_heads=config.get("num_key_value_heads") or values["num_attention_heads"],
        qk_norm_groups=_norm_groups(files), rms_norm_eps=config.get("rms_norm_eps") or 1e-5,
        rope_theta=float(config.get("rope_theta") or 10000.0), head_first=head_first, head_size=head_size,
    )  # fmt: skip


def _norm_groups(files: Files) -> int:
    """Rows of the q norms: what the tensors say counts, not what config.json says."""
    key = "model.layers.0.self_attn.q_norm.weight"
    for path in files.weights:
        if key in _keys(path):
            with _open(path) as file:
                return file.get_slice(key).get_shape()[0]
    raise CheckpointError(f"{key} is in none of the files in {files.folder}. Copy the missing .safetensors file there.")


def load_transformer(
    files: Files, head_first: int, head_size: int, *, operations=nn, device: torch.device | str | None = None,
    dtype: torch.dtype | None = None, quantized: str | None = None, progress: Progress = silent, cancel: Cancel = never,
) -> tuple[Transformer, str]:  # fmt: skip
    """The transformer with its image head, on `device` in `dtype`, frozen, and its fingerprint. Raises CheckpointError.

    There is never a second copy in memory, and of the output head only the image codes' rows are read. `quantized`: the
    layers' projections are rounded to this scheme one by one as they are read; the fingerprint is that of the weights in
    the files. Raises QuantizationError.
    """
    model = Transformer(transformer_config(files, head_first, head_size), operations=operations, device="meta")
    count = len(list(model.parameters()))
    if quantized:
        quantize(model, quantized)
    named = Fingerprint(model.config)
    entries = _reported(_transformer_entries(files, model.config), count, progress, cancel)
    return _filled(model, named.noting(entries), files.folder, device, dtype), named.text()


Entry = tuple[Path, str, str, Tensor]  # file, key in it, parameter, value


def _reported(entries: Iterable[Entry], count: int, progress: Progress, cancel: Cancel) -> Iterator[Entry]:
    for done, entry in enumerate(entries, 1):
        stop_if(cancel)
        yield entry
        progress(min(done, count), count, "reading weights")  # files may hold more than belongs to the model


def _transformer_entries(files: Files, config: TransformerConfig) -> Iterator[Entry]:
    """Every tensor of the transformer. Where the embeddings are tied, the table's rows are the head's too."""
    tied = files.config.get("tie_word_embeddings") and not any("lm_head.weight" in _keys(path) for path in files.weights)
    head = "model.embed_tokens.weight" if tied else "lm_head.weight"
    for path in files.weights:
        keys = _keys(path)
        with _open(path) as file:
            for key in keys:
                if key.startswith("model.vqmodel.") or key.endswith(IGNORED):
                    continue
                if key == head:
                    table = file.get_slice(key)
                    _check_shape(path, key, table.get_shape(), (config.vocab_size, config.hidden_size))
                    rows = table[config.head_first : config.head_first + config.head_size]
                    yield path, key, "image_head.weight", rows.clone()  # no memory in common with a tied table
                if key != "lm_head.weight":
                    yield path, key, key, file.get_tensor(key)


def _filled(model: nn.Module, entries: Iterable[Entry], source: Path, device, dtype: torch.dtype | None):
    """`model`, built on meta, with every parameter taken from `entries`, in evaluation mode and frozen."""
    wanted = dict(model.named_parameters())
    shrinking = any(isinstance(module, QuantizedLinear) for module in model.modules())
    for path, key, name, value in entries:
        if name not in wanted:
            raise CheckpointError(f"{path} holds {key}, which this model does not have or another file holds too. Copy the files again.")
        place, _, leaf = name.rpartition(".")
        owner, parameter = model.get_submodule(place), wanted.pop(name)
        small = isinstance(owner, QuantizedLinear)
        _check_shape(path, key, value.shape, owner.weight_shape if small else parameter.shape)
        extremes = torch.stack(torch.aminmax(value)).to(dtype)  # NaN where any number is
        if not extremes.isfinite().all():
            raise CheckpointError(f"{path} holds a weight in {key} that is not a finite number as {extremes.dtype}. Copy the file again.")
        if small:
            owner.store(value.to(device, dtype))
            wanted.pop(f"{place}.{owner.scale_name}")
        else:
            # A value that is taken as it lies keeps the whole file in memory, which is only right where all are taken so.
            setattr(owner, leaf, nn.Parameter(value.to(device, dtype, copy=shrinking), requires_grad=False))
    if wanted:
        first = next(iter(wanted)).replace("image_head", "lm_head")
        raise CheckpointError(f"{source} lacks {first} ({len(wanted)} tensors in all). Copy the model's files again.")
    return model.requires_grad_(False).eval()


def _check_shape(path: Path, key: str, shape: Iterable[int], expected: Iterable[int]) -> None:
    if tuple(shape) != tuple(expected):
        raise CheckpointError(
            f"{key} in {path} has the shape {tuple(shape)}, expected {tuple(expected)}. It and config.json belong to different models."
        )


# ---------------------------------------------------------------- image tokenizer


def load_image_tokenizer(files: Files, *, device: torch.device | str | None = None) -> ImageTokenizer:
    """Encoder, codebook and decoder, float32, frozen. Raises CheckpointError."""
    path = files.vq or files.folder
    tensors = _vq_tensors(files)
    for part in ("encoder", "decoder"):
        if f"{part}.conv_in.weight" not in tensors:
            raise CheckpointError(f"{path} has no {part}: {VQ_SOURCES} {files.folder}.")
    try:
        model = ImageTokenizer(_vq_config(tensors, files.config.get("vq_config") or {}), device="meta")
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} does not hold a whole image tokenizer ({error}). Copy it again.") from error
    return _filled(model, ((path, key, key, value) for key, value in tensors.items()), path, device, torch.float32)


def _vq_tensors(files: Files) -> dict[str, Tensor]:
    """The image tokenizer's tensors by our names: the file's prefix and its training losses are left out."""
    paths = (files.vq,) if files.vq else files.weights
    found: dict[str, Tensor] = {}
    for path in paths:
        if path.suffix == ".ckpt":
            found |= _read_pickle(path)
            continue
        keys = _keys(path)
        with _open(path) as file:
            found |= {key: file.get_tensor(key) for key in keys}
    codebook = next((key for key in found if key.endswith(CODEBOOK)), None)
    if codebook is None:
        raise CheckpointError(f"{files.vq or files.folder} holds no image tokenizer (no {CODEBOOK}): {VQ_SOURCES} {files.folder}.")
    prefix = codebook.removesuffix(CODEBOOK)
    inside = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    return {key: value for key, value in inside.items() if key.split(".")[0] in VQ_PARTS}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Meta's vqgan.ckpt: the one pickle in the wild, read as plain tensors only."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or holds more than tensors ({reason}). Copy vqgan.ckpt again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f'{path} has no "state_dict". Give the vqgan.ckpt of Meta\'s Chameleon download.')
    return content["state_dict"]


def _vq_config(tensors: dict[str, Tensor], saved: dict) -> ImageTokenizerConfig:
    """What the shapes say; they cannot tell the number of norm groups, which is Chameleon's unless config.json says it."""

    def count(prefix: str) -> int:
        return len({key.removeprefix(prefix).split(".")[0] for key in tensors if key.startswith(prefix)})

    ch, channels = tensors["encoder.conv_in.weight"].shape[:2]
    widths = [len(tensors[f"encoder.down.{level}.block.0.conv2.weight"]) for level in range(count("encoder.down."))]
    n_embed, embed_dim = tensors[CODEBOOK].shape
    return ImageTokenizerConfig(
        ch=ch, ch_mult=tuple(width // ch for width in widths), num_res_blocks=count("encoder.down.0.block."),
        z_channels=len(tensors["encoder.conv_out.weight"]), embed_dim=embed_dim, n_embed=n_embed,
        patch=math.isqrt(channels // 3), norm_groups=saved.get("norm_groups") or math.gcd(32, ch),
    )  # fmt: skip


# ---------------------------------------------------------------- identity


class Fingerprint:
    """16 hex digits that name a base model, whatever its data type and file layout.

    Some entries of every q and down projection, the table and the head, rounded to bfloat16 and then to steps of
    1/4096: what bfloat16, float16 and float32 copies of one model share. q/k norms are left out: the layouts differ.
    """

    NAMING = ("q_proj.weight", "down_proj.weight", "embed_tokens.weight", "image_head.weight")

    def __init__(self, config: TransformerConfig):
        self.config, self.parts = asdict(config), {}
        self.config.pop("qk_norm_groups")

    def note(self, name: str, value: Tensor) -> None:
        """See the parameter `name`, before it is rounded to anything below bfloat16."""
        if name.endswith(self.NAMING):
            flat = value.detach().reshape(-1)
            some = flat[:: max(1, len(flat) // 1024)][:1024].to("cpu", torch.bfloat16).float()
            self.parts[name] = (some * 4096).round().to(torch.int32).numpy().tobytes()

    def noting(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            yield entry
            self.note(entry[2], entry[3])  # afterwards: by then its shape and numbers were found good

    def text(self) -> str:
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for _, part in sorted(self.parts.items()):
            digest.update(part)
        return digest.hexdigest()[:16]


def fingerprint(transformer: Transformer) -> str:
    """The Fingerprint of a transformer whose weights are not quantised."""
    named = Fingerprint(transformer.config)
    for name, parameter in transformer.named_parameters():
        named.note(name, parameter)
    return named.text()
