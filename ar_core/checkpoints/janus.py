"""Janus-Pro, as deepseek-ai publishes it (pickles, or safetensors copies) and as transformers has it.

Both hold the same tensors under other names. Codes have a table of their own, of 8 numbers each, and two layers that
make hidden states of them. These are computed here for all codes at once and put behind the rows of text, so that to
everything else codes are ids of one vocabulary. What reads pictures (SigLIP) and writes text is never read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..architecture import TransformerConfig
from ..families.family import Family
from ..families.janus_pro import language_config
from ..families.protocol import Protocol
from .dimensions import decoder_dimensions
from .errors import CheckpointError
from .find import Files
from .formats import ImageTokenizerFormat, TransformerFormat
from .lumina import DERIVED
from .reader import Entry, check_stored_shape, stored_tensors
from .vqgan import CODEBOOK, build_vqgan, vqgan_tensors

# transformers' LlamaConfig, which stands for what deepseek-ai's config.json leaves out.
DEFAULTS = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
ADVICE = "Use Janus-Pro 1B or 7B."
TABLE = "model.embed_tokens.weight"


@dataclass(frozen=True)
class Layout:
    """Where a layout keeps what belongs to drawing. `decoder` and `image_tokenizer` are prefixes of keys."""

    name: str
    decoder: str
    codes: str  # the table of codes
    projections: tuple[str, str]  # what makes hidden states of its rows, without .weight and .bias
    head: tuple[str, str]
    image_tokenizer: str
    skipped: tuple[str, ...]  # prefixes
    image_tokenizer_name: Callable[[str, int], str]  # of a key without its prefix, and the number of levels

    def is_in(self, files: Files) -> bool:
        """Whether a folder's files are stored so."""
        return self.codes in files.tensor_names()

    def text_table(self) -> str:
        """The key of the rows of text."""
        return f"{self.decoder}embed_tokens.weight"

    def folded(self) -> list[str]:
        """Keys of what the rows of codes are computed from."""
        parts = [f"{name}.{part}" for name in self.projections for part in ("weight", "bias")]
        return [self.codes, *parts]

    def our_name(self, key: str) -> str:
        """The parameter's name in our transformer; keys that it has no place for stay as they are."""
        for theirs, ours in zip(self.head, ("image_head.hidden", "image_head.output"), strict=True):
            if key.rpartition(".")[0] == theirs:
                return key.replace(theirs, ours, 1)
        if key.startswith(self.decoder):
            return "model." + key.removeprefix(self.decoder)
        return key


def deepseek_name(name: str, levels: int) -> str:
    """Our name for a tensor of LlamaGen's VQGAN, whose decoder counts its levels from the lowest resolution."""
    name = re.sub(r"\.mid\.0\.", ".mid.block_1.", name)
    name = re.sub(r"\.mid\.1\.", ".mid.attn_1.", name)
    name = re.sub(r"\.mid\.2\.", ".mid.block_2.", name)
    name = re.sub(r"\.conv_blocks\.(\d+)\.res\.", r".conv_blocks.\1.block.", name)
    name = re.sub(r"^encoder\.conv_blocks\.", "encoder.down.", name)
    name = re.sub(r"^decoder\.conv_blocks\.", "decoder.up.", name)
    return transformers_name(name, levels)


def transformers_name(name: str, levels: int) -> str:
    """Our name for a tensor of transformers' JanusVQVAE: its decoder counts its levels from the lowest resolution."""
    return re.sub(r"^decoder\.up\.(\d+)\.", lambda found: f"decoder.up.{levels - 1 - int(found[1])}.", name)


DEEPSEEK = Layout(
    name="deepseek-ai's Janus-Pro",
    decoder="language_model.model.",
    codes="gen_embed.weight",
    projections=("gen_aligner.layers.0", "gen_aligner.layers.2"),
    head=("gen_head.output_mlp_projector", "gen_head.vision_head"),
    image_tokenizer="gen_vision_model.",
    skipped=("language_model.lm_head.", "vision_model.", "aligner."),
    image_tokenizer_name=deepseek_name,
)
TRANSFORMERS = Layout(
    name="transformers' Janus",
    decoder="model.language_model.",
    codes="model.generation_embeddings.weight",
    projections=("model.generation_aligner.fc1", "model.generation_aligner.hidden_layers.0"),
    head=("model.generation_head.proj_out", "model.generation_head.vision_head"),
    image_tokenizer="model.vqmodel.",
    skipped=("lm_head.", "model.vision_model.", "model.aligner."),
    image_tokenizer_name=transformers_name,
)


def transformer_config(files: Files, layout: Layout, protocol: Protocol) -> TransformerConfig:
    """The dimensions in config.json, and those of the head as its tensors have them. Raises CheckpointError."""
    values = decoder_dimensions(files.config_path, language_config(files) or {}, DEFAULTS, ADVICE)
    values["vocab_size"] = protocol.code_base + protocol.codes
    return TransformerConfig(
        **values,
        head_first=protocol.code_base,
        head_size=protocol.codes,
        head_hidden=_head_width(files, layout),
        qk_norm=False,
        folded_codes=True,
    )


def _head_width(files: Files, layout: Layout) -> int:
    key = f"{layout.head[0]}.weight"
    for stored in stored_tensors(files.weights):
        if stored.key == key:
            return stored.shape()[0]
    raise CheckpointError(f"{key} is in none of the files in {files.path}. Copy the missing weight file there.")


def transformer_entries(files: Files, config: TransformerConfig, layout: Layout) -> Iterator[Entry]:
    """Every tensor of the transformer; the table comes last, when all that it is made of was seen."""
    parts: dict[str, Tensor] = {}
    needed = [layout.text_table(), *layout.folded()]
    for stored in stored_tensors(files.weights):
        key = stored.key
        if key.startswith((layout.image_tokenizer, *layout.skipped)) or key.endswith(DERIVED):
            continue
        if key not in needed:
            yield Entry(stored.path, key, layout.our_name(key), stored.read())
            continue
        if key == layout.text_table():
            check_stored_shape(stored.path, key, stored.shape(), (config.head_first, config.hidden_size))
        if key == layout.codes:
            check_stored_shape(stored.path, key, stored.shape(), (config.head_size, stored.shape()[-1]))
        parts[key] = stored.read()
    for key in needed:
        if key not in parts:
            raise CheckpointError(f"{files.path} lacks {key}. Copy the model's files again.")
    text = parts[layout.text_table()]
    try:
        codes = folded_codes(*(parts[key] for key in layout.folded()))
        table = torch.cat([text.float(), codes])
    except RuntimeError as error:
        raise CheckpointError(
            f"{layout.codes} and {layout.projections[0]} in {files.path} do not fit together ({error}). Copy the "
            "model's files again."
        ) from error
    yield Entry(files.path, layout.text_table(), TABLE, table)


def folded_codes(codes: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor) -> Tensor:
    """Hidden states (codes, hidden), float32: second(gelu(first(codes))) for the whole table of codes (codes, n)."""
    hidden = F.gelu(F.linear(codes.float(), first.float(), first_bias.float()))
    return F.linear(hidden, second.float(), second_bias.float())


def image_tokenizer_tensors(files: Files, layout: Layout) -> dict[str, Tensor]:
    """The image tokenizer's tensors by our names, float32. Raises CheckpointError.

    The codebook's rows get the length 1 that upstream gives them, when it encodes and when it decodes. Latents then
    need none: with rows of equal length theirs changes no nearest row.
    """
    found: dict[str, Tensor] = {}
    for stored in stored_tensors(files.weights):
        if stored.key.startswith(layout.image_tokenizer):
            found[stored.key.removeprefix(layout.image_tokenizer)] = stored.read()
    found.pop("quantize.codebook_used", None)
    levels = _levels(found)
    tensors = vqgan_tensors({layout.image_tokenizer_name(key, levels): value for key, value in found.items()}, files)
    tensors[CODEBOOK] = F.normalize(tensors[CODEBOOK].float(), dim=-1)
    return tensors


def _levels(keys: Mapping[str, Tensor]) -> int:
    """Levels of the decoder."""
    numbers = [re.match(r"decoder\.(?:conv_blocks|up)\.(\d+)\.", key) for key in keys]
    return 1 + max((int(number[1]) for number in numbers if number), default=0)


def transformer_format(layout: Layout) -> TransformerFormat:
    """The transformer in that layout."""

    def config(files: Files, family: Family, protocol: Protocol) -> TransformerConfig:
        return transformer_config(files, layout, protocol)

    def entries(files: Files, config: TransformerConfig) -> Iterator[Entry]:
        return transformer_entries(files, config, layout)

    return TransformerFormat(name=layout.name, found_in=layout.is_in, config=config, entries=entries)


def image_tokenizer_format(layout: Layout) -> ImageTokenizerFormat:
    """The image tokenizer in that layout: among the weights."""

    def tensors(files: Files) -> dict[str, Tensor]:
        return image_tokenizer_tensors(files, layout)

    return ImageTokenizerFormat(
        name=f"among the weights of {layout.name}", found_in=layout.is_in, tensors=tensors, build=build_vqgan
    )


JANUS_TRANSFORMERS = tuple(map(transformer_format, (DEEPSEEK, TRANSFORMERS)))
JANUS_IMAGE_TOKENIZERS = tuple(map(image_tokenizer_format, (DEEPSEEK, TRANSFORMERS)))
