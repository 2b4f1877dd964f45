"""The decoder: one forward pass for training and for decoding.

Architecture: Llama, in Chameleon with a LayerNorm on every query and key (Chameleon Team 2024, arXiv 2405.09818), in
Janus-Pro with two layers in the output head (Chen et al. 2025, arXiv 2501.17811). Module names are the checkpoint's key
names, but for `image_head`: the output head covers the image codes alone. Nothing else is ever sampled or scored, and
in Lumina-mGPT 57,344 of 65,536 rows would be computed for nothing.

Layers come from an injected `operations` namespace with torch.nn's signatures, so a host can stream, cast or
patch them. For the same reason nothing here owns a buffer, and modules that read their own parameters cast
them first: a host may leave those on another device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .architecture import TransformerConfig
from .attention import Attention, WholeSequences
from .concepts import Entering
from .rotary import Rotary, rotary_table, rotate


class Transformer(nn.Module):
    """Token ids or embeddings in, hidden states or image-code logits out."""

    def __init__(
        self,
        config: TransformerConfig,
        *,
        operations: Any = nn,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        """`operations`: a namespace with torch.nn's Linear, Embedding and RMSNorm, or a host's variants of them."""
        super().__init__()
        self.config = config
        self.operations = operations
        to = {"device": device, "dtype": dtype}
        self.model = Body(config, operations, to)
        self.image_head: nn.Module
        if config.head_hidden:
            self.image_head = TwoLayerHead(config, operations, to)
        else:
            self.image_head = operations.Linear(config.hidden_size, config.head_size, bias=False, **to)
        self.gradient_checkpointing = False
        self.quantized: str | None = None  # how the layers' projections are held, written by `quantization.quantize`
        self._host_device: torch.device | None = None

    @property
    def device(self) -> torch.device:
        """Where forward runs: where the last norm is, unless a host that streams the layers has set another."""
        return self._host_device or self.model.norm.weight.device

    @device.setter
    def device(self, device: torch.device | None) -> None:
        self._host_device = device

    @property
    def dtype(self) -> torch.dtype:
        """The type that forward computes in. The last norm has it, also where projections are quantized."""
        return self.model.norm.weight.dtype

    @property
    def precision(self) -> str:
        """How numbers are held, e.g. "bfloat16", "int8 and bfloat16"."""
        dtype = str(self.dtype).removeprefix("torch.")
        if self.quantized:
            return f"{self.quantized} and {dtype}"
        return dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings (B, T, hidden) of `ids` (B, T)."""
        return self.model.embed_tokens(ids)

    def forward(
        self, embeddings: Tensor, attention: Attention | None = None, entering: Entering | None = None
    ) -> Tensor:
        """Hidden states (B, T, hidden), after the last norm, for T new tokens in every sequence.

        `attention` says where these tokens stand and what they attend to; None: they are whole sequences, shorter
        ones padded at the end. For decoding it comes from `KVCache.at`. `entering`: what takes the place of the states
        that enter a layer, as learned concepts do; the table and the layers stay untouched.
        """
        if attention is None:
            attention = WholeSequences(embeddings.shape[1], embeddings.device)
        config = self.config
        rotary = rotary_table(attention.positions, config.head_dim, config.rope_theta, embeddings.dtype)
        x = embeddings
        for index, layer in enumerate(self.model.layers):
            if entering is not None:
                x = entering(index, x)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, index, rotary, attention, use_reentrant=False)
            else:
                x = layer(x, index, rotary, attention)
        return self.model.norm(x)

    def image_logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., head_size) over the image codes, float32; entry i is code i."""
        return self.image_head(hidden).float()


class Body(nn.Module):
    """The embedding table, the layers and the last norm."""

    def __init__(self, config: TransformerConfig, operations: Any, to: dict[str, Any]):
        super().__init__()
        self.embed_tokens = operations.Embedding(config.vocab_size, config.hidden_size, **to)
        self.layers = nn.ModuleList(Layer(config, operations, to) for _ in range(config.num_hidden_layers))
        self.norm = operations.RMSNorm(config.hidden_size, eps=config.rms_norm_eps, **to)


class TwoLayerHead(nn.Module):
    """Janus-Pro's output head: output(gelu(hidden(x))), both with biases."""

    def __init__(self, config: TransformerConfig, operations: Any, to: dict[str, Any]):
        super().__init__()
        self.hidden = operations.Linear(config.hidden_size, config.head_hidden, bias=True, **to)
        self.output = operations.Linear(config.head_hidden, config.head_size, bias=True, **to)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(F.gelu(self.hidden(x)))


class Layer(nn.Module):
    """Attention, then a feed-forward network, each behind a norm and added to the stream."""

    def __init__(self, config: TransformerConfig, operations: Any, to: dict[str, Any]):
        super().__init__()
        self.input_layernorm = operations.RMSNorm(config.hidden_size, eps=config.rms_norm_eps, **to)
        self.self_attn = SelfAttention(config, operations, to)
        self.post_attention_layernorm = operations.RMSNorm(config.hidden_size, eps=config.rms_norm_eps, **to)
        self.mlp = FeedForward(config, operations, to)

    def forward(self, x: Tensor, index: int, rotary: Rotary, attention: Attention) -> Tensor:
        """x (B, T, hidden) -> (B, T, hidden); `index`: the number of this layer."""
        x = x + self.self_attn(self.input_layernorm(x), index, rotary, attention)
        return x + self.mlp(self.post_attention_layernorm(x))


class SelfAttention(nn.Module):
    """Projections to queries, keys and values, a norm on queries and keys where there is one, the projection back."""

    def __init__(self, config: TransformerConfig, operations: Any, to: dict[str, Any]):
        super().__init__()
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = config.head_dim
        width = self.heads * self.head_dim
        kv_width = self.kv_heads * self.head_dim
        self.q_proj = operations.Linear(config.hidden_size, width, bias=False, **to)
        self.k_proj = operations.Linear(config.hidden_size, kv_width, bias=False, **to)
        self.v_proj = operations.Linear(config.hidden_size, kv_width, bias=False, **to)
        self.o_proj = operations.Linear(width, config.hidden_size, bias=False, **to)
        self.q_norm: nn.Module = nn.Identity()
        self.k_norm: nn.Module = nn.Identity()
        if config.qk_norm:
            self.q_norm = HeadNorm(config.qk_norm_groups, self.head_dim, to)
            self.k_norm = HeadNorm(min(config.qk_norm_groups, self.kv_heads), self.head_dim, to)

    def forward(self, x: Tensor, index: int, rotary: Rotary, attention: Attention) -> Tensor:
        """x (B, T, hidden) -> (B, T, hidden)"""
        sequences, new, _ = x.shape
        q = self.q_proj(x).view(sequences, new, self.heads, self.head_dim)
        k = self.k_proj(x).view(sequences, new, self.kv_heads, self.head_dim)
        v = self.v_proj(x).view(sequences, new, self.kv_heads, self.head_dim)
        q = rotate(self.q_norm(q), rotary)
        k = rotate(self.k_norm(k), rotary)
        attended = attention.attend(index, q, k, v)  # (B, T, heads, head_dim)
        joined = attended.reshape(sequences, new, -1)
        return self.o_proj(joined.contiguous())  # torch would copy the weights for an input with gaps in memory


class HeadNorm(nn.Module):
    """LayerNorm over each head's channels; heads share scale and shift in `groups` groups.

    Lumina's own files hold (1, head_dim), transformers' layout one vector per head.
    """

    def __init__(self, groups: int, head_dim: int, to: dict[str, Any]):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, head_dim, **to))
        self.bias = nn.Parameter(torch.zeros(groups, head_dim, **to))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, heads, head_dim)"""
        weight = self.weight.to(x)
        bias = self.bias.to(x)
        if len(weight) == 1:
            return F.layer_norm(x, x.shape[-1:], weight[0], bias[0], eps=1e-5)
        repeats = x.shape[2] // len(weight)
        weight = weight.repeat_interleave(repeats, 0)
        bias = bias.repeat_interleave(repeats, 0)
        return F.layer_norm(x, x.shape[-1:], eps=1e-5) * weight + bias


class FeedForward(nn.Module):
    """The gated network of Llama: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: TransformerConfig, operations: Any, to: dict[str, Any]):
        super().__init__()
        self.gate_proj = operations.Linear(config.hidden_size, config.intermediate_size, bias=False, **to)
        self.up_proj = operations.Linear(config.hidden_size, config.intermediate_size, bias=False, **to)
        self.down_proj = operations.Linear(config.intermediate_size, config.hidden_size, bias=False, **to)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
