"""Janus-Pro, as deepseek-ai publishes it (pickles, or safetensors copies) and as transformers has it.

Both hold the same tensors under other names. Codes have a table of their own, of 8 numbers each, and two layers that
make hidden states of them. These are computed here for all codes at once and put behind the rows of text, so that to
everything else codes are ids of one vocabulary. What reads pictures (SigLIP) and writes text is never read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from .fingerprint import MADE_OF
from .formats import ImageTokenizerFormat, TransformerFormat
from .lumina import DERIVED
from .reader import Entry, Stored, check_finite_weights, check_stored_shape, stored_tensors
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
OUR_DECODER = "model."
OUR_HEAD = ("image_head.hidden", "image_head.output")


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
        for theirs, ours in zip(self.head, OUR_HEAD, strict=True):
            if key.rpartition(".")[0] == theirs:
                return key.replace(theirs, ours, 1)
        if key.startswith(self.decoder):
            return OUR_DECODER + key.removeprefix(self.decoder)
        return key

    def their_name(self, name: str) -> str:
        """The key of a parameter of our transformer."""
        for theirs, ours in zip(self.head, OUR_HEAD, strict=True):
            name = name.replace(ours, theirs, 1)
        if name.startswith(OUR_DECODER) and not name.startswith(self.head):
            return self.decoder + name.removeprefix(OUR_DECODER)
        return name


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
    values = decoder_dimensions(files.config_path, language_config(files.config) or {}, DEFAULTS, ADVICE)
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
            return matrix_shape(stored.path, key, stored.shape())[0]
    raise CheckpointError(f"{key} is in none of the files in {files.path}. Copy the missing weight file there.")


def matrix_shape(path: Path, key: str, shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns. Raises CheckpointError for anything but a matrix."""
    if len(shape) != 2 or 0 in shape:
        raise CheckpointError(f"{key} in {path} has the shape {tuple(shape)}, expected a matrix. Copy the file again.")
    return shape[0], shape[1]


def transformer_entries(
    files: Files, config: TransformerConfig, dtype: torch.dtype | None, layout: Layout
) -> Iterator[Entry]:
    """Every tensor of the transformer; the table comes first, which takes most memory while it is made."""
    yield whole_table(files, config, dtype, layout)
    made = (layout.text_table(), *layout.folded())
    for stored in stored_tensors(files.weights):
        key = stored.key
        if key.startswith((layout.image_tokenizer, *layout.skipped)) or key.endswith(DERIVED) or key in made:
            continue
        yield Entry(stored.path, key, layout.our_name(key), stored.read())


def whole_table(files: Files, config: TransformerConfig, dtype: torch.dtype | None, layout: Layout) -> Entry:
    """The rows of text and, behind them, those of codes, in `dtype` or as the rows of text are held.

    Raises CheckpointError.
    """
    parts = _parts(files, (layout.text_table(), *layout.folded()))
    first, second = layout.projections
    numbers = _columns(parts[layout.codes])
    inner = len(parts[f"{first}.bias"].value.flatten())
    expected = {
        layout.text_table(): (config.head_first, config.hidden_size),
        layout.codes: (config.head_size, numbers),
        f"{first}.weight": (inner, numbers),
        f"{first}.bias": (inner,),
        f"{second}.weight": (config.hidden_size, inner),
        f"{second}.bias": (config.hidden_size,),
    }
    for key, part in parts.items():
        check_stored_shape(part.path, key, part.value.shape, expected[key])
        check_finite_weights(part, None)
    text = parts[layout.text_table()]
    folded = [parts[key].value for key in layout.folded()]
    table = torch.empty(config.vocab_size, config.hidden_size, dtype=dtype or text.value.dtype, device="cpu")
    table[: config.head_first] = text.value
    table[config.head_first :] = folded_codes(*folded)
    made_of = [(TABLE, text.value), *((f"{MADE_OF}{number}", value) for number, value in enumerate(folded))]
    return Entry(text.path, text.key, TABLE, table, tuple(made_of))


def _columns(part: Entry) -> int:
    return matrix_shape(part.path, part.key, part.value.shape)[1]


def _parts(files: Files, keys: Sequence[str]) -> dict[str, Entry]:
    """The tensors of these names. Raises CheckpointError for one that is missing, or in two files."""
    parts: dict[str, Entry] = {}
    for stored in stored_tensors(files.weights):
        if stored.key in parts:
            raise in_two_files(stored)
        if stored.key in keys:
            parts[stored.key] = Entry(stored.path, stored.key, stored.key, stored.read())
    for key in keys:
        if key not in parts:
            raise CheckpointError(f"{files.path} lacks {key}. Copy the model's files again.")
    return parts


def in_two_files(stored: Stored) -> CheckpointError:
    """What to raise for a tensor that another file had before."""
    return CheckpointError(f"{stored.path} holds {stored.key}, which another file holds too. Copy the files again.")


def folded_codes(codes: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor) -> Tensor:
    """Hidden states (codes, hidden), float32: second(gelu(first(codes))) for the whole table of codes (codes, n)."""
    hidden = F.gelu(F.linear(codes.float(), first.float(), first_bias.float()))
    return F.linear(hidden, second.float(), second_bias.float())


def image_tokenizer_tensors(files: Files, layout: Layout) -> dict[str, Tensor]:
    """The image tokenizer's tensors by our names, its codebook in float32. Raises CheckpointError.

    The codebook's rows get the length 1 that upstream gives them, when it encodes and when it decodes. Latents then
    need none: with rows of equal length theirs changes no nearest row.
    """
    found: dict[str, Tensor] = {}
    for stored in stored_tensors(files.weights):
        if not stored.key.startswith(layout.image_tokenizer):
            continue
        name = stored.key.removeprefix(layout.image_tokenizer)
        if name in found:
            raise in_two_files(stored)
        found[name] = stored.read()
        if name == CODEBOOK:
            matrix_shape(stored.path, stored.key, stored.shape())
            check_finite_weights(Entry(stored.path, stored.key, name, found[name]), None)
            found[name] = unit_rows(found[name])
            if not found[name].isfinite().all():
                raise CheckpointError(f"{stored.path} holds a row of zeros in {stored.key}. Copy the file again.")
    found.pop("quantize.codebook_used", None)
    levels = _levels(found)
    return vqgan_tensors({layout.image_tokenizer_name(key, levels): value for key, value in found.items()}, files)


def unit_rows(rows: Tensor) -> Tensor:
    """Every row divided by its length, float32; NaN for a row of zeros.

    Squares are added one after the other in float64: the same bits on every machine, since what is remembered of
    photos is found by a hash of the codebook.
    """
    wide = rows.double()
    total = torch.zeros_like(wide[:, 0])
    for column in wide.unbind(1):
        total = total + column * column
    return (wide / total.sqrt()[:, None]).float()


def _levels(keys: Mapping[str, Tensor]) -> int:
    """Levels of the decoder."""
    numbers = [re.match(r"decoder\.(?:conv_blocks|up)\.(\d+)\.", key) for key in keys]
    return 1 + max((int(number[1]) for number in numbers if number), default=0)


def transformer_format(layout: Layout) -> TransformerFormat:
    """The transformer in that layout."""

    def config(files: Files, family: Family, protocol: Protocol) -> TransformerConfig:
        return transformer_config(files, layout, protocol)

    def entries(files: Files, config: TransformerConfig, dtype: torch.dtype | None) -> Iterator[Entry]:
        return transformer_entries(files, config, dtype, layout)

    return TransformerFormat(
        name=layout.name, found_in=layout.is_in, config=config, entries=entries, key_of=layout.their_name
    )


def image_tokenizer_format(layout: Layout) -> ImageTokenizerFormat:
    """The image tokenizer in that layout: among the weights, unless the user gives another file."""

    def found_in(files: Files) -> bool:
        return files.image_tokenizer is None and layout.is_in(files)

    def tensors(files: Files) -> dict[str, Tensor]:
        return image_tokenizer_tensors(files, layout)

    return ImageTokenizerFormat(
        name=f"among the weights of {layout.name}", found_in=found_in, tensors=tensors, build=build_vqgan
    )


JANUS_TRANSFORMERS = tuple(map(transformer_format, (DEEPSEEK, TRANSFORMERS)))
JANUS_IMAGE_TOKENIZERS = tuple(map(image_tokenizer_format, (DEEPSEEK, TRANSFORMERS)))
