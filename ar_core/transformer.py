"""The Chameleon decoder: one forward pass for training and for decoding.

Architecture: Llama with a LayerNorm on every query and key (Chameleon Team 2024, arXiv 2405.09818). Module
names are the checkpoint's key names. The output head covers the image codes alone: nothing else is ever
sampled or scored, and 57,344 of 65,536 rows would be computed for nothing.

Layers come from an injected `operations` namespace with torch.nn's signatures, so a host can stream, cast or
patch them. For the same reason nothing here owns a buffer, and modules that read their own parameters cast
them first: a host may leave those on another device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .architecture import TransformerConfig
from .attention import SelfAttention, causal_mask, rotary_table
from .cache import KVCache


class Transformer(nn.Module):
    """Token ids or embeddings in, hidden states or image-code logits out."""

    def __init__(self, config: TransformerConfig, *, operations=nn, device=None, dtype=None):
        super().__init__()
        self.config, self.operations = config, operations
        to = {"device": device, "dtype": dtype}
        self.model = Body(config, operations, to)
        self.image_head = operations.Linear(config.hidden_size, config.head_size, bias=False, **to)
        self.gradient_checkpointing = False
        self.quantized: str | None = None  # how the layers' projections are held, written by `quantization.quantize`
        self.device: torch.device | None = None  # written by a host that moves the layers itself

    @property
    def compute_device(self) -> torch.device:
        """Where forward runs: where the weights are, unless a host streams them."""
        return self.device or self.image_head.weight.device

    @property
    def precision(self) -> str:
        """How numbers are held, e.g. "bfloat16", "int8 and bfloat16"."""
        dtype = str(self.image_head.weight.dtype).removeprefix("torch.")
        return f"{self.quantized} and {dtype}" if self.quantized else dtype

    def embed(self, ids: Tensor, rows: Tensor | None = None, first_row_id: int = 0) -> Tensor:
        """Embeddings (B, T, hidden) of `ids` (B, T).

        `rows` (R, hidden) lie over the table at ids first_row_id .. first_row_id + R - 1: learned vectors take
        the place of reserved tokens while the table itself stays untouched.
        """
        table = self.model.embed_tokens(ids)
        if rows is None or not len(rows):
            return table
        index = ids - first_row_id
        inside = (index >= 0) & (index < len(rows))
        placed = F.embedding(index.clamp(0, len(rows) - 1), rows.to(table.device)).to(table.dtype)
        return torch.where(inside[..., None], placed, table)

    def forward(
        self,
        embeddings: Tensor,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
        slots: int | None = None,
    ) -> Tensor:
        """Hidden states (B, T, hidden), after the last norm, for T new tokens in every row.

        Without a cache the T tokens are whole sequences (shorter rows padded at the end: no position sees a
        later one). With a cache, `positions` (B, T) says where the new tokens stand; each attends to slots
        0 .. its own position, among the first `slots` of the cache (all when None; must exceed every position).
        """
        if cache is None:
            positions = torch.arange(embeddings.shape[1], device=embeddings.device)[None]
            mask = None
        else:
            slots = slots or cache.slots
            mask = causal_mask(positions, slots, embeddings.dtype)
        rotary = rotary_table(positions, self.config.head_dim, self.config.rope_theta, embeddings.dtype)
        x = embeddings
        for index, layer in enumerate(self.model.layers):
            step = lambda x, layer=layer, index=index: layer(x, rotary, index, positions, mask, cache, slots)  # noqa: E731
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(step, x, use_reentrant=False)
            else:
                x = step(x)
        return self.model.norm(x)

    def image_logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., head_size) over the image codes, float32; entry i is code i."""
        return self.image_head(hidden).float()


class Body(nn.Module):
    def __init__(self, config: TransformerConfig, operations, to: dict):
        super().__init__()
        self.embed_tokens = operations.Embedding(config.vocab_size, config.hidden_size, **to)
        self.layers = nn.ModuleList(Layer(config, operations, to) for _ in range(config.num_hidden_layers))
        self.norm = operations.RMSNorm(config.hidden_size, eps=config.rms_norm_eps, **to)


class Layer(nn.Module):
    def __init__(self, config: TransformerConfig, operations, to: dict):
        super().__init__()
        self.input_layernorm = operations.RMSNorm(config.hidden_size, eps=config.rms_norm_eps, **to)
        self.self_attn = SelfAttention(config, operations, to)
        self.post_attention_layernorm = operations.RMSNorm(config.hidden_size, eps=config.rms_norm_eps, **to)
        self.mlp = FeedForward(config, operations, to)

    def forward(self, x: Tensor, *context) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), *context)
        return x + self.mlp(self.post_attention_layernorm(x))


class FeedForward(nn.Module):
    def __init__(self, config: TransformerConfig, operations, to: dict):
        super().__init__()
        self.gate_proj = operations.Linear(config.hidden_size, config.intermediate_size, bias=False, **to)
        self.up_proj = operations.Linear(config.hidden_size, config.intermediate_size, bias=False, **to)
        self.down_proj = operations.Linear(config.intermediate_size, config.hidden_size, bias=False, **to)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
