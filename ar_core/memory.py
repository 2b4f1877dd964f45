"""How many bytes things take: for a host that must make room before it starts, for telling a user what fits, and for
refusing a training that would run out of memory or disk.

Weights and the cache are exact; activations are upper estimates from the shapes that live at the same time.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import torch
from torch import nn

from .adapters import target_shapes
from .architecture import ImageTokenizerConfig, TransformerConfig
from .cache import KVCache
from .families.protocol import Protocol, Size
from .image_tokenizer.strips import STRIP
from .quantization import SCHEMES
from .sampling.settings import WINDOWS
from .transformer import Transformer

FLOAT32 = 4
PROMPT_TOKENS = 160  # the instruction and a long prompt
WINDOW = max(WINDOWS)  # positions decoded at a time, at most


def weight_bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def layer_bytes(transformer: Transformer) -> int:
    """Weights of one layer."""
    return weight_bytes(transformer.model.layers[0])


def quantized_bytes(transformer: Transformer, scheme: str) -> int:
    """What `weight_bytes` would be after `quantize(transformer, scheme)`, within a thousandth."""
    projections = [m.weight for m in transformer.model.layers.modules() if isinstance(m, nn.Linear)]
    kept = weight_bytes(transformer) - sum(p.numel() * p.element_size() for p in projections)
    return kept + round(sum(p.numel() for p in projections) * SCHEMES[scheme].bits / 8)


def sampling_bytes(
    config: TransformerConfig, protocol: Protocol, size: Size, images: int, cfg: float, itemsize: int
) -> int:
    """Cache and activations of decoding `images` at once."""
    sequences = images * (1 if cfg == 1 else 2)
    layout = protocol.layout(size)
    slots = PROMPT_TOKENS + layout.rows * layout.row_length + WINDOW
    prefill = sequences * PROMPT_TOKENS * _layer_width(config) * itemsize
    logits = 6 * sequences * WINDOW * config.head_size * FLOAT32
    return KVCache.bytes(config, sequences, slots, itemsize) + prefill + logits


def training_bytes(
    config: TransformerConfig,
    protocol: Protocol,
    size: Size,
    micro_batch: int,
    checkpointing: bool,
    itemsize: int,
    parameters: int,
) -> int:
    """Learned values with gradients and Adam's moments, and the activations of one forward and backward pass."""
    layout = protocol.layout(size)
    tokens = micro_batch * (PROMPT_TOKENS + layout.rows * layout.row_length)
    whole_layers = 1 if checkpointing else config.num_hidden_layers
    activations = (
        tokens * (config.num_hidden_layers * config.hidden_size + whole_layers * _layer_width(config)) * itemsize
    )
    logits = 3 * tokens * config.head_size * FLOAT32
    return 4 * parameters * FLOAT32 + activations + logits


def image_bytes(config: ImageTokenizerConfig, size: Size) -> int:
    """Decoding or encoding one image: the pixels in three forms, 2.25 maps of the first layer's resolution, and strips on the way."""
    pixels = 3 * size[0] * size[1]
    whole = config.ch * pixels // (3 * config.patch**2)
    return round(3 * pixels + 2.25 * whole + 5 * min(whole, STRIP)) * FLOAT32


def picture_bytes(
    transformer: Transformer,
    config: ImageTokenizerConfig,
    protocol: Protocol,
    size: Size,
    images: int,
    cfg: float,
    *,
    beside: int = 0,
    previews: bool = True,
) -> int:
    """All that drawing pictures needs beside the weights.

    `beside`: parameters of personalizations that are computed beside quantised weights. `previews` are decoded while the
    cache is there, finished pictures when it is gone.
    """
    itemsize, dimensions = transformer.image_head.weight.element_size(), transformer.config
    sampling, image = sampling_bytes(dimensions, protocol, size, images, cfg, itemsize), image_bytes(config, size)
    one_projection = dimensions.hidden_size * dimensions.intermediate_size * itemsize if transformer.quantized else 0
    return (sampling + image if previews else max(sampling, image)) + one_projection + beside * itemsize


def _layer_width(config: TransformerConfig) -> int:
    """Numbers that one layer holds per token for its backward pass: its input in several forms, q, k, v, and the inner layer."""
    return 10 * config.hidden_size + 4 * config.intermediate_size


class NotEnough(RuntimeError):
    """Too little memory or disk; the message names the need, what there is, and the setting that fits."""


def trainable_parameters(transformer: Transformer, method: str, rank: int) -> int:
    shapes = target_shapes(transformer).values()
    return sum(out * inputs if method == "full" else rank * (out + inputs) for out, inputs in shapes)


def check_budget(transformer: Transformer, method: str, rank: int, folder: Path) -> None:
    """Raise NotEnough unless learned values, gradients and moments fit beside the loaded model, and two states on disk."""
    count = trainable_parameters(transformer, method, rank)
    memory, disk = 4 * count * FLOAT32, 2 * 3 * count * FLOAT32
    advice = "Choose the method LoRA, which needs a hundredth." if method == "full" else "Choose a lower rank."
    device = transformer.compute_device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if memory > free:
        raise NotEnough(
            f"Training {count / 1e6:.1f}M parameters needs {memory / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free. {advice}"
        )
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if disk > free:
        raise NotEnough(
            f"Training {count / 1e6:.1f}M parameters needs {disk / 2**30:.1f} GiB of disk in {folder}, {free / 2**30:.1f} GiB are free. {advice}"
        )
