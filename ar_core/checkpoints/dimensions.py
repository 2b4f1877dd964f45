"""A decoder's dimensions as config.json gives them: checked, for every format whose decoder is a Llama."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CheckpointError

# Each with a number far beyond any model: a damaged one must not be built.
DIMENSIONS = {
    "vocab_size": 2**22,
    "hidden_size": 2**17,
    "intermediate_size": 2**19,
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**12,
}
# What config.json may say about things that are fixed in our transformer.
FIXED = {
    "swin_norm": False,
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "rope_scaling": None,
    "rope_type": "default",
    "partial_rotary_factor": 1.0,
}
LARGEST = 1e30  # of a number that is not whole


def decoder_dimensions(
    path: Path, table: Mapping[str, Any], defaults: Mapping[str, Any], advice: str
) -> dict[str, Any]:
    """Fields of TransformerConfig from `table`, a part of the file at `path`; `defaults` stand for what it leaves out.

    Raises CheckpointError for a missing or unusable number, and for another architecture; `advice` says what to use
    instead.
    """
    nested = table.get("rope_parameters") or {}  # since transformers 5
    if not isinstance(nested, dict) or any(isinstance(value, dict) for value in nested.values()):
        raise CheckpointError(
            f"{path} has no table rope_parameters of numbers ({nested!r:.60}). Copy it again from the model's "
            "repository."
        )
    config = {**defaults, **table, **nested}
    if config.get("rope_scaling") == {"rope_type": "default"}:
        config["rope_scaling"] = None
    for name, ours in FIXED.items():
        if (config.get(name) or ours) != ours:
            raise CheckpointError(
                f"{path} sets {name} to {config[name]}, which this transformer does not have. {advice}"
            )
    values = dict(defaults)
    for name in DIMENSIONS:
        values[name] = config.get(name)
        if type(values[name]) is not int or not 1 <= values[name] <= DIMENSIONS[name]:
            raise unusable(path, name, values[name])
    values["num_key_value_heads"] = config.get("num_key_value_heads") or values["num_attention_heads"]
    heads = values["num_key_value_heads"]
    if type(heads) is not int or not 1 <= heads <= values["num_attention_heads"]:
        raise unusable(path, "num_key_value_heads", heads)
    for name in ("rms_norm_eps", "rope_theta"):
        number = config.get(name)
        if number is None:
            continue
        if isinstance(number, bool) or not (isinstance(number, int | float) and 0 < number < LARGEST):
            raise unusable(path, name, number)
        values[name] = float(number)
    width, left = divmod(values["hidden_size"], values["num_attention_heads"])
    if left or width % 2:
        raise unusable(path, "num_attention_heads", values["num_attention_heads"])
    if (config.get("head_dim") or width) != width:
        raise unusable(path, "head_dim", config["head_dim"])
    return values


def unusable(path: Path, name: str, value: object) -> CheckpointError:
    """What to raise for a number that no model has."""
    return CheckpointError(
        f"{path} has no usable number {name} ({value!r:.60}). Copy it again from the model's repository."
    )
