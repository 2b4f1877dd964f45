"""Convolutions of large maps, strip by strip: the same numbers in a fraction of the memory.

A 3x3 convolution needs one row more on either side, and a group norm the mean and variance of the whole map. Both are
known before the first strip, so tiles leave no seams; what is saved is every copy of a whole map in between.
Small maps and everything that is trained go through torch's own layers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIP = 2**23  # numbers per strip, 32 MiB in float32; a map up to this size is computed at once


def convolve_activated(norm: nn.GroupNorm, conv: nn.Conv2d, x: Tensor, onto: Tensor | None = None) -> Tensor:
    """conv(silu(norm(x))) for a 3x3 `conv`; added to `onto`, in place, where given."""
    if fits_in_one_strip(x):
        result = conv(F.silu(norm(x)))
        if onto is None:
            return result
        return onto + result
    scale, shift = group_norm_as_scale_and_shift(norm, x)

    def make(rows: Tensor) -> Tensor:
        return conv(F.silu(torch.addcmul(shift, rows, scale), inplace=True))

    return strip_by_strip(make, x, onto)


def convolve_enlarged(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """conv of x at twice the size, nearest neighbour."""

    def make(rows: Tensor) -> Tensor:
        return conv(F.interpolate(rows, scale_factor=2.0, mode="nearest"))

    if fits_in_one_strip(x):
        return make(x)
    return strip_by_strip(make, x, times=2)


def fits_in_one_strip(x: Tensor) -> bool:
    """Whether a map is small enough to be computed as a whole, or has to be because it is trained through."""
    return torch.is_grad_enabled() or x.numel() <= STRIP


def group_norm_as_scale_and_shift(norm: nn.GroupNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """The group norm of x (B, C, H, W) as x * scale + shift, both (B, C, 1, 1)."""
    batch, channels = x.shape[:2]
    variance, mean = torch.var_mean(x.reshape(batch, norm.num_groups, -1), dim=-1, correction=0, keepdim=True)
    inverse = (variance + norm.eps).rsqrt()
    scale = norm.weight.view(norm.num_groups, -1) * inverse
    shift = norm.bias.view(norm.num_groups, -1) - mean * scale
    return scale.reshape(batch, channels, 1, 1), shift.reshape(batch, channels, 1, 1)


def strip_by_strip(make: Callable[[Tensor], Tensor], x: Tensor, onto: Tensor | None = None, times: int = 1) -> Tensor:
    """make(x), added to `onto` where given. `make` looks one row far and gives `times` as many rows and columns."""
    height = x.shape[2]
    step = max(1, STRIP // (times**2 * x[:, :, 0].numel()))
    result = onto
    for first in range(0, height, step):
        last = min(first + step, height)
        above = max(first - 1, 0)  # the map's own border is padded by the convolution
        below = min(last + 1, height)
        made = make(x[:, :, above:below])[:, :, times * (first - above) : times * (last - above)]
        if onto is not None:
            onto[:, :, first:last].add_(made)
            continue
        if result is None:
            result = made.new_empty(*made.shape[:2], times * height, made.shape[3])
        result[:, :, times * first : times * last] = made
    assert result is not None  # a map has rows
    return result
