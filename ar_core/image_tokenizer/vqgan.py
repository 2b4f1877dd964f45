"""VQGAN: pixels <-> codes.

Chameleon's image tokenizer (Chameleon Team 2024; Esser et al. 2021), with its checkpoint's key names. Every
image becomes a grid of codebook indices, one per `config.factor` x `config.factor` pixels. The miniature uses
the same code with pixels folded into patches first and fewer norm groups; Janus-Pro's (LlamaGen's, Sun et al. 2024,
arXiv 2406.06525) has more attention, and codebook rows of length 1.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..architecture import ImageTokenizerConfig
from .strips import convolve_activated, convolve_enlarged

log = logging.getLogger(__name__)

EPS = 1e-6  # of all group norms


class ImageTokenizer(nn.Module):
    """Images to codes and back.

    With `with_encoder=False` or `with_decoder=False` that half is not built (some public files lack one).
    """

    def __init__(
        self,
        config: ImageTokenizerConfig,
        *,
        with_encoder: bool = True,
        with_decoder: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.config = config
        to: dict[str, Any] = {"device": device, "dtype": dtype}
        if with_encoder:
            self.encoder = Encoder(config, to)
            self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, 1, **to)
        self.quantize = Codebook(config.n_embed, config.embed_dim, to)
        if with_decoder:
            self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1, **to)
            self.decoder = Decoder(config, to)

    def latents(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in -1..1 to unquantised vectors (B, embed_dim, h, w)."""
        return self.quant_conv(self.encoder(pixels))

    def reconstruct(self, latents: Tensor) -> Tensor:
        """Vectors (B, embed_dim, h, w), normally codebook rows, to pixels (B, 3, H, W), about -1..1."""
        return self.decoder(self.post_quant_conv(latents))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) in 0..1 to codes (B, h, w), int64 in 0..n_embed-1.

        Raises ValueError where H and W are no multiples of `config.factor`.
        """
        height, width = images.shape[1:3]
        if height % self.config.factor or width % self.config.factor:
            raise ValueError(
                f"An image of {width}x{height} pixels cannot be encoded: both sides must be multiples of "
                f"{self.config.factor}. Crop or resize it first."
            )
        weight = self.quantize.embedding.weight
        pixels = images.to(weight.device, weight.dtype).movedim(-1, 1) * 2 - 1
        return self.quantize.nearest(self.latents(pixels))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) to images (B, H, W, 3), float32 in 0..1.

        On the CPU where the device cannot, most likely for lack of memory: codes took too long to draw to be lost.
        """
        try:
            return self._decode(codes)
        except RuntimeError as error:  # what runs out of memory raises various kinds of it
            log.warning("Pictures are decoded on the CPU, because the device could not: %s", error)
        return self._on_cpu()._decode(codes)  # here, what the attempt held is released

    def _on_cpu(self) -> ImageTokenizer:
        copy = ImageTokenizer(self.config, with_encoder=hasattr(self, "encoder"), device="meta")
        copy.load_state_dict({key: value.cpu() for key, value in self.state_dict().items()}, assign=True)
        return copy.eval()

    @torch.no_grad()
    def _decode(self, codes: Tensor) -> Tensor:
        rows = self.quantize.embedding(codes.to(self.quantize.embedding.weight.device))
        pixels = self.reconstruct(rows.movedim(-1, 1))
        return (pixels.float().movedim(1, -1) / 2 + 0.5).clamp(0, 1)


class Codebook(nn.Module):
    """The vectors that codes stand for: `embedding.weight` (n_embed, embed_dim)."""

    def __init__(self, n_embed: int, embed_dim: int, to: dict[str, Any]):
        super().__init__()
        self.embedding = nn.Embedding(n_embed, embed_dim, **to)

    def nearest(self, latents: Tensor) -> Tensor:
        """Index of the closest row (Euclidean) for every vector of (B, embed_dim, h, w) -> (B, h, w)."""
        batch, dim, height, width = latents.shape
        flat = latents.movedim(1, -1).reshape(-1, dim)  # (B * h * w, embed_dim)
        rows = self.embedding.weight  # (n_embed, embed_dim)
        distances = (
            flat.square().sum(1, keepdim=True) + rows.square().sum(1) - 2 * flat @ rows.T
        )  # (B * h * w, n_embed)
        return distances.argmin(1).view(batch, height, width)


class ResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), (B, channels, h, w) -> (B, out, h, w)."""

    def __init__(self, channels: int, out: int, groups: int, to: dict[str, Any]):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, eps=EPS, **to)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, **to)
        self.norm2 = nn.GroupNorm(groups, out, eps=EPS, **to)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, **to)
        self.nin_shortcut: nn.Conv2d | None = None
        if channels != out:
            self.nin_shortcut = nn.Conv2d(channels, out, 1, **to)

    def forward(self, x: Tensor) -> Tensor:
        """May write over x while nothing is trained: two maps of this size are all that is held at a time."""
        h = convolve_activated(self.norm1, self.conv1, x)
        if self.nin_shortcut is not None:
            x = self.nin_shortcut(x)
        return convolve_activated(self.norm2, self.conv2, h, onto=x)


class Attention(nn.Module):
    """One-headed self-attention over all positions of the grid."""

    def __init__(self, channels: int, groups: int, to: dict[str, Any]):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=EPS, **to)
        self.q = nn.Conv2d(channels, channels, 1, **to)
        self.k = nn.Conv2d(channels, channels, 1, **to)
        self.v = nn.Conv2d(channels, channels, 1, **to)
        self.proj_out = nn.Conv2d(channels, channels, 1, **to)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q = self.q(h).flatten(2).transpose(1, 2)  # (B, h * w, channels), as k and v
        k = self.k(h).flatten(2).transpose(1, 2)
        v = self.v(h).flatten(2).transpose(1, 2)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(h)


class Middle(nn.Module):
    """The blocks of the lowest resolution."""

    def __init__(self, channels: int, groups: int, to: dict[str, Any]):
        super().__init__()
        self.block_1 = ResBlock(channels, channels, groups, to)
        self.attn_1 = Attention(channels, groups, to)
        self.block_2 = ResBlock(channels, channels, groups, to)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(nn.Module):
    """Half the size."""

    def __init__(self, channels: int, to: dict[str, Any]):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, **to)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # asymmetric, as trained


class Upsample(nn.Module):
    """Twice the size."""

    def __init__(self, channels: int, to: dict[str, Any]):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, **to)

    def forward(self, x: Tensor) -> Tensor:
        return convolve_enlarged(self.conv, x)


class Level(nn.Module):
    """The residual blocks of one resolution and the change to the next (named as in the checkpoints)."""

    def __init__(self, channels: int, out: int, blocks: int, groups: int, attentive: bool, to: dict[str, Any]):
        """`attentive`: with attention behind every block."""
        super().__init__()
        self.block = nn.ModuleList(ResBlock(channels if i == 0 else out, out, groups, to) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(out, groups, to) for _ in range(blocks if attentive else 0))
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[index](x)
        if self.downsample is not None:
            x = self.downsample(x)
        if self.upsample is not None:
            x = self.upsample(x)
        return x


class Encoder(nn.Module):
    """Pixels (B, 3, H, W) to vectors (B, z_channels, h, w). Level 0 has the highest resolution."""

    def __init__(self, config: ImageTokenizerConfig, to: dict[str, Any]):
        super().__init__()
        groups = config.norm_groups
        self.patch = config.patch
        widths = [config.ch * m for m in config.ch_mult]
        inputs = [config.ch, *widths[:-1]]  # a level receives what the level above it gives
        self.conv_in = nn.Conv2d(3 * config.patch**2, config.ch, 3, padding=1, **to)
        self.down = nn.ModuleList()
        lowest = len(widths) - 1
        for i, (channels, out) in enumerate(zip(inputs, widths, strict=True)):
            level = Level(channels, out, config.num_res_blocks, groups, config.low_attention and i == lowest, to)
            if i < lowest:
                level.downsample = Downsample(out, to)
            self.down.append(level)
        self.mid = Middle(widths[-1], groups, to)
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS, **to)
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1, **to)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv_in(F.pixel_unshuffle(pixels, self.patch))
        for level in self.down:
            x = level(x)
        return convolve_activated(self.norm_out, self.conv_out, self.mid(x))


class Decoder(nn.Module):
    """Vectors (B, z_channels, h, w) to pixels (B, 3, H, W). Level 0 has the highest resolution."""

    def __init__(self, config: ImageTokenizerConfig, to: dict[str, Any]):
        super().__init__()
        groups = config.norm_groups
        self.patch = config.patch
        widths = [config.ch * m for m in config.ch_mult]
        inputs = [*widths[1:], widths[-1]]  # a level receives what the level below it gives
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1, **to)
        self.mid = Middle(widths[-1], groups, to)
        self.up = nn.ModuleList()
        lowest = len(widths) - 1
        for i, (channels, out) in enumerate(zip(inputs, widths, strict=True)):
            level = Level(channels, out, config.num_res_blocks + 1, groups, config.low_attention and i == lowest, to)
            if i > 0:
                level.upsample = Upsample(out, to)
            self.up.append(level)
        self.norm_out = nn.GroupNorm(groups, widths[0], eps=EPS, **to)
        self.conv_out = nn.Conv2d(widths[0], 3 * config.patch**2, 3, padding=1, **to)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return F.pixel_shuffle(convolve_activated(self.norm_out, self.conv_out, x), self.patch)
