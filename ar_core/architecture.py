"""Dimensions of the two networks. Whatever builds, loads or counts them starts from here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TransformerConfig:
    """Dimensions of a decoder; the defaults are Lumina-mGPT 7B's.

    A new field also needs a line in `checkpoints/fingerprint.py`, or saved subjects would be those of another base
    model.
    """

    vocab_size: int = 65536
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    qk_norm_groups: int = 1  # `model_parallel_size` in Lumina's config.json: heads share a norm by groups
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    head_first: int = 4  # the output head's rows: vocabulary ids head_first .. head_first + head_size - 1
    head_size: int = 8192
    head_hidden: int = 0  # channels between the head's two layers; 0: one layer without bias
    qk_norm: bool = True  # whether queries and keys are normed
    folded_codes: bool = False  # the table's rows from head_first on were computed from smaller weights (Janus-Pro)

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class ImageTokenizerConfig:
    """Dimensions of a VQGAN; the defaults are Chameleon's (`vqgan.yaml`)."""

    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    z_channels: int = 256
    embed_dim: int = 256
    n_embed: int = 8192
    patch: int = 1  # pixels folded into channels before the first convolution
    norm_groups: int = 32
    low_attention: bool = False  # self-attention behind every block of the lowest level, not of the middle alone

    @property
    def factor(self) -> int:
        """Pixels per code along one side."""
        return self.patch * 2 ** (len(self.ch_mult) - 1)
