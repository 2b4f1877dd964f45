"""The Chameleon decoder: one forward pass for training and for decoding.

Architecture: Llama with a LayerNorm on every query and key (Chameleon Team 2024, arXiv 2405.09818). Module
names are the checkpoint's key names. The output head covers the image codes alone: nothing else is ever
sampled or scored, and 57,344 of 65,536 rows would be computed for nothing.

Layers come from an injected `operations` namespace with torch.nn's signatures, so a host can stream, cast or
patch them. For the same reason nothing here owns a buffer, and modules that read their own parameters cast
them first: a host may leave those on another device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class TransformerConfig:
    """Dimensions of a decoder; the defaults are Lumina-mGPT 7B's."""

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

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


class KVCache:
    """Keys and values of every position so far; a token at position p lies in slot p.

    Slots are never cleared: a slot above a row's newest position is invisible until it is overwritten, so
    rows may advance by different amounts and rejected drafts need no cropping.

    keys, values: (layers, rows, slots, kv_heads, head_dim)
    """

    def __init__(self, config: TransformerConfig, rows: int, slots: int, device=None, dtype=None):
        shape = (config.num_hidden_layers, rows, slots, config.num_key_value_heads, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.rows = torch.arange(rows, device=device)[:, None]

    @property
    def slots(self) -> int:
        return self.keys.shape[2]

    @staticmethod
    def bytes(config: TransformerConfig, rows: int, slots: int, itemsize: int) -> int:
        return 2 * config.num_hidden_layers * rows * slots * config.num_key_value_heads * config.head_dim * itemsize

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor, slots: int) -> tuple[Tensor, Tensor]:
        """Store (rows, T, kv_heads, head_dim) at `positions` (rows, T); returns the layer's first `slots` slots."""
        self.keys[layer].index_put_((self.rows, positions), keys.to(self.keys.dtype))
        self.values[layer].index_put_((self.rows, positions), values.to(self.values.dtype))
        return self.keys[layer, :, :slots], self.values[layer, :, :slots]


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
        self, embeddings: Tensor, positions: Tensor | None = None, cache: KVCache | None = None, slots: int | None = None
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


class SelfAttention(nn.Module):
    def __init__(self, config: TransformerConfig, operations, to: dict):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        width, kv_width = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.q_proj = operations.Linear(config.hidden_size, width, bias=False, **to)
        self.k_proj = operations.Linear(config.hidden_size, kv_width, bias=False, **to)
        self.v_proj = operations.Linear(config.hidden_size, kv_width, bias=False, **to)
        self.o_proj = operations.Linear(width, config.hidden_size, bias=False, **to)
        self.q_norm = HeadNorm(config.qk_norm_groups, self.head_dim, to)
        self.k_norm = HeadNorm(min(config.qk_norm_groups, self.kv_heads), self.head_dim, to)

    def forward(self, x, rotary, index, positions, mask, cache, slots) -> Tensor:
        rows, new, _ = x.shape
        q = rotate(self.q_norm(self.q_proj(x).view(rows, new, self.heads, self.head_dim)), rotary)
        k = rotate(self.k_norm(self.k_proj(x).view(rows, new, self.kv_heads, self.head_dim)), rotary)
        v = self.v_proj(x).view(rows, new, self.kv_heads, self.head_dim)
        if cache is not None:
            k, v = cache.write(index, positions, k, v, slots)
        if new == 1 and q.device.type == "cpu" and q.dtype == torch.bfloat16:
            q = q.repeat(1, 2, 1, 1)  # torch's CPU kernel takes five times longer for one query than for two (docs/log.md)
        attended = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.to(q.dtype).transpose(1, 2), v.to(q.dtype).transpose(1, 2),
            attn_mask=mask, is_causal=mask is None, enable_gqa=self.heads != self.kv_heads,
        )  # fmt: skip
        joined = attended[:, :, :new].transpose(1, 2).reshape(rows, new, -1)
        return self.o_proj(joined.contiguous())  # for rows with gaps between them torch would copy the weights


class HeadNorm(nn.Module):
    """LayerNorm over each head's channels; heads share scale and shift in `groups` groups.

    Lumina's own files hold (1, head_dim), transformers' layout one row per head.
    """

    def __init__(self, groups: int, head_dim: int, to: dict):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, head_dim, **to))
        self.bias = nn.Parameter(torch.zeros(groups, head_dim, **to))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x), self.bias.to(x)
        if len(weight) == 1:
            return F.layer_norm(x, x.shape[-1:], weight[0], bias[0], eps=1e-5)
        repeats = x.shape[2] // len(weight)
        weight, bias = weight.repeat_interleave(repeats, 0), bias.repeat_interleave(repeats, 0)
        return F.layer_norm(x, x.shape[-1:], eps=1e-5) * weight + bias


class FeedForward(nn.Module):
    def __init__(self, config: TransformerConfig, operations, to: dict):
        super().__init__()
        self.gate_proj = operations.Linear(config.hidden_size, config.intermediate_size, bias=False, **to)
        self.up_proj = operations.Linear(config.hidden_size, config.intermediate_size, bias=False, **to)
        self.down_proj = operations.Linear(config.intermediate_size, config.hidden_size, bias=False, **to)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def causal_mask(positions: Tensor, slots: int, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores: 0 for slots up to a token's own position, else -inf. (B, 1, T, slots)"""
    later = torch.arange(slots, device=positions.device) > positions[:, None, :, None]
    return torch.zeros(later.shape, device=positions.device, dtype=dtype).masked_fill_(later, float("-inf"))


def rotary_table(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (B, T, 1, head_dim) of rotary position embedding (Su et al. 2021), computed in float32."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[:, :, None, None].float() * theta**-exponents
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], -1).to(dtype), torch.cat([-sin, sin], -1).to(dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turn channel pairs (i, i + head_dim / 2) of x (B, T, heads, head_dim) by their positions' angles."""
    cos, sin = rotary
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)  # rolled: each channel meets its partner
