"""Format (a): Alpha-VLLM's Lumina-mGPT folders, and the miniature's.

The keys are our names. There is one group of q/k norms for all heads, the whole output head, and no image tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from ..architecture import TransformerConfig
from ..families.family import Family
from ..families.protocol import Protocol
from .dimensions import decoder_dimensions
from .errors import CheckpointError
from .find import Files
from .formats import TransformerFormat
from .reader import Entry, check_stored_shape, stored_tensors

DERIVED = ("rotary_emb.inv_freq", "position_ids")  # values that follow from the config; some files carry them along
TABLE = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
FIRST_NORM = "model.layers.0.self_attn.q_norm.weight"
ADVICE = "Use Lumina-mGPT 7B or another Chameleon model."


def transformer_config(files: Files, family: Family, protocol: Protocol) -> TransformerConfig:
    """The dimensions in config.json. Raises CheckpointError for a missing one and for another architecture."""
    values = decoder_dimensions(files.config_path, files.config, family.architecture, ADVICE)
    last = protocol.code_base + protocol.codes - 1
    if values["vocab_size"] <= last:
        raise CheckpointError(
            f"{files.config_path} has a vocab_size of {values['vocab_size']}, but image codes lie at "
            f"{protocol.code_base} to {last}. Choose the model's own family."
        )
    largest = protocol.text.largest_id()
    if largest >= values["vocab_size"]:
        raise CheckpointError(
            f"{files.tokenizer} has the id {largest}, but {files.config_path} a vocab_size of {values['vocab_size']}: "
            "they belong to different models. Put the model's own tokenizer file there."
        )
    return TransformerConfig(
        **values, qk_norm_groups=_norm_groups(files), head_first=protocol.code_base, head_size=protocol.codes
    )


def _norm_groups(files: Files) -> int:
    """Rows of the q norms: what the tensors say counts, not what config.json says."""
    for stored in stored_tensors(files.weights):
        if stored.key == FIRST_NORM:
            return stored.shape()[0]
    raise CheckpointError(
        f"{FIRST_NORM} is in none of the files in {files.path}. Copy the missing .safetensors file there."
    )


def transformer_entries(
    files: Files,
    config: TransformerConfig,
    dtype: torch.dtype | None,
    skipped: Callable[[str], bool] = lambda key: False,
) -> Iterator[Entry]:
    """Every tensor of the transformer, without the keys that are `skipped`.

    They come as they are stored, whatever `dtype` is. Of the output head only the rows of the image codes are read.
    Where the embeddings are tied, the table's rows are also the head's.
    """
    head = HEAD
    if files.config.get("tie_word_embeddings") and HEAD not in files.tensor_names():
        head = TABLE
    for stored in stored_tensors(files.weights):
        if stored.key.endswith(DERIVED) or skipped(stored.key):
            continue
        if stored.key == head:
            check_stored_shape(stored.path, stored.key, stored.shape(), (config.vocab_size, config.hidden_size))
            rows = stored.read_rows(config.head_first, config.head_first + config.head_size)
            # A copy, which has no memory in common with a tied table.
            yield Entry(stored.path, stored.key, "image_head.weight", rows.clone())
        if stored.key != HEAD:
            yield Entry(stored.path, stored.key, stored.key, stored.read())


def key_of(name: str) -> str:
    """The key of a parameter of ours."""
    return name.replace("image_head", "lm_head")


TRANSFORMER = TransformerFormat(
    name="Lumina-mGPT's own",
    found_in=lambda files: any(key.startswith("model.layers.") for key in files.tensor_names()),
    config=transformer_config,
    entries=transformer_entries,
    key_of=key_of,
)
