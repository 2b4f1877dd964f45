"""Self-attention of the decoder: a norm on every query and key, rotary positions, the causal mask.

Modules that read their own parameters cast them first: a host may leave those on another device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import TransformerConfig


class SelfAttention(nn.Module):
    def __init__(self, config: TransformerConfig, operations, to: dict):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
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
            q = q.repeat(
                1, 2, 1, 1
            )  # torch's CPU kernel takes five times longer for one query than for two (docs/log.md)
        attended = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.to(q.dtype).transpose(1, 2),
            v.to(q.dtype).transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.heads != self.kv_heads,
        )
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
