"""How many bytes things take: for a host that makes room before it starts, for telling a user what fits, and for
refusing a training that would run out of memory or disk.

Weights and the KV cache are exact. Activations are upper estimates, from the shapes that live at the same time.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch
from torch import nn

from . import cpu_products
from .adapters import target_shapes
from .architecture import ImageTokenizerConfig, TransformerConfig
from .cache import KVCache
from .devices import free_memory
from .families.protocol import Protocol, Size
from .image_tokenizer.strips import STRIP
from .model import ARModel
from .quantization import SCHEMES
from .sampling.settings import WINDOWS
from .transformer import Transformer

FLOAT32 = 4  # bytes
PROMPT_TOKENS = 160  # the instruction and a long prompt
WINDOW = max(WINDOWS)  # positions decoded at a time, at most
ADAM = 3  # copies of what is learned: the values and Adam's two moments
PNG_PIXEL = 2  # bytes of a pixel in a PNG, about
SLACK = 2**29  # bytes of a card for the libraries' own use, and for gaps between tensors
STATES = 3  # on disk at a time: the newest, the one before, and one that is being written


class NotEnough(RuntimeError):
    """Too little memory or disk; the message says how much is needed and free, and which setting needs less."""


# ---------------------------------------------------------------- weights


def weight_bytes(module: nn.Module) -> int:
    """All parameters, as they are held."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


def quantized_bytes(transformer: Transformer, scheme: str) -> int:
    """What `weight_bytes` would be after `quantize(transformer, scheme)`, within a thousandth."""
    projections = [m.weight for m in transformer.model.layers.modules() if isinstance(m, nn.Linear)]
    kept = weight_bytes(transformer) - sum(p.numel() * p.element_size() for p in projections)
    return kept + round(sum(p.numel() for p in projections) * SCHEMES[scheme].bits / 8)


def trainable_parameters(transformer: Transformer, method: str, rank: int) -> int:
    """Parameters of a new adapter; `rank` is that of the LoRA."""
    count = 0
    for rows, columns in target_shapes(transformer).values():
        if method == "full":
            count += rows * columns
        else:
            count += rank * (rows + columns)
    return count


# ---------------------------------------------------------------- of the networks' shapes


def sampling_bytes(
    config: TransformerConfig, protocol: Protocol, size: Size, images: int, cfg: float, itemsize: int
) -> int:
    """Cache and activations of decoding `images` at once; `itemsize` is the bytes per number of the computation."""
    sequences = images
    if cfg != 1:
        sequences = 2 * images  # guided and unguided
    slots = PROMPT_TOKENS + protocol.layout(size).padded_length + WINDOW
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
    """Learned `parameters` with gradients and Adam's moments, and the activations of one forward and backward pass."""
    tokens = micro_batch * (PROMPT_TOKENS + protocol.layout(size).padded_length)
    whole_layers = config.num_hidden_layers
    if checkpointing:
        whole_layers = 1  # of the others only the inputs are kept
    numbers = config.num_hidden_layers * config.hidden_size + whole_layers * _layer_width(config)
    logits = 3 * tokens * config.head_size * FLOAT32
    return adapter_training_bytes(parameters) + tokens * numbers * itemsize + logits


def comparing_bytes(model: ARModel, micro_batch: int, size: Size | None = None) -> int:
    """What comparing with the frozen model's distribution adds to a forward and backward pass.

    Two more copies of the logits, with their gradients.
    """
    size = size or model.family.recipe.learned_size
    codes = micro_batch * model.protocol.layout(size).codes
    return 4 * codes * model.transformer.config.head_size * FLOAT32


def adapter_training_bytes(parameters: int) -> int:
    """Learned values, their gradients and Adam's moments, all in float32."""
    return (ADAM + 1) * parameters * FLOAT32


def image_bytes(config: ImageTokenizerConfig, size: Size) -> int:
    """Decoding or encoding one image.

    The pixels in three forms, 2.25 maps of the first layer's resolution, and the strips in between.
    """
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
    unmerged: int = 0,
    previews: bool = True,
) -> int:
    """All that drawing `images` at once needs on top of the weights.

    `unmerged`: parameters of the adapters that are not merged into the weights. `previews` are decoded while the KV
    cache is there, finished pictures when it is gone.
    """
    itemsize = _itemsize(transformer)
    dimensions = transformer.config
    sampling = sampling_bytes(dimensions, protocol, size, images, cfg, itemsize)
    image = image_bytes(config, size)
    needed = max(sampling, image)
    if previews:
        needed = sampling + image
    if transformer.quantized:  # one projection at a time is turned into numbers that can be multiplied with
        needed += dimensions.hidden_size * dimensions.intermediate_size * itemsize
    return needed + unmerged * itemsize


def _layer_width(config: TransformerConfig) -> int:
    """Numbers that one layer holds per token for backward: its input in several forms, q, k, v, and the inner layer."""
    return 10 * config.hidden_size + 4 * config.intermediate_size


def _itemsize(transformer: Transformer) -> int:
    return transformer.dtype.itemsize


# ---------------------------------------------------------------- of a model and what is done with it


def drawing_bytes(model: ARModel, size: Size, images: int, cfg: float, *, previews: bool = True) -> int:
    """Drawing a batch of `images` with all applied personalizations, on top of the weights as they were loaded."""
    unmerged = sum(parameter.numel() for adapter, _ in model.unmerged for parameter in adapter.parameters())
    return merged_bytes(model) + picture_bytes(
        model.base,
        model.image_tokenizer.config,
        model.protocol,
        size,
        images,
        cfg,
        unmerged=unmerged,
        previews=previews,
    )


def merged_bytes(model: ARModel) -> int:
    """The projections that will be held a second time, with the changes of personalizations merged into them."""
    if model.base.quantized or model.has_merged:
        return 0
    shapes = {name: adapter.shape(name) for adapter, _ in model.changes for name in adapter.names()}
    return sum(rows * columns for rows, columns in shapes.values()) * _itemsize(model.base)


def merge_bytes(transformer: Transformer) -> int:
    """What a learned change of the layers takes when it is merged; 0 for quantised weights, which cannot take it."""
    if transformer.quantized:
        return 0
    return sum(rows * columns for rows, columns in target_shapes(transformer).values()) * _itemsize(transformer)


def learning_bytes(
    model: ARModel, micro_batch: int, checkpointing: bool, parameters: int, size: Size | None = None
) -> int:
    """Reading photos and then training at `size`, on top of the weights; None: the recipe's size for training.

    `parameters`: of the adapter.
    """
    size = size or model.family.recipe.learned_size
    image = image_bytes(model.image_tokenizer.config, size)
    training = training_bytes(
        model.transformer.config,
        model.protocol,
        size,
        micro_batch,
        checkpointing,
        _itemsize(model.transformer),
        parameters,
    )
    return max(training, image)


def sample_bytes(model: ARModel, parameters: int) -> int:
    """Drawing one sample of the training's size while it waits, with the adapter's `parameters` in memory."""
    recipe = model.family.recipe
    drawing = drawing_bytes(model, recipe.learned_size, 1, recipe.cfg, previews=False)
    return drawing + adapter_training_bytes(parameters)


def png_bytes(size: Size) -> int:
    """Disk of one picture, about."""
    return PNG_PIXEL * size[0] * size[1]


def run_bytes(parameters: int, kept: int, states: int = STATES) -> int:
    """Disk of a remembered training of so many `parameters`: its states, and the results of `kept` steps."""
    return (states * ADAM + kept) * parameters * FLOAT32


def room(device: torch.device) -> int | None:
    """Bytes of a device that can be planned with; None where it does not say how much is free."""
    free = free_memory(device)
    if free is None:
        return None
    if device.type == "cpu":
        return free + cpu_products.held_bytes()  # which training gives back
    return max(0, free - SLACK)


def training_room(device: torch.device) -> int | None:
    """`room` for a training: half of main memory, which is everybody's."""
    free = room(device)
    if free is None or device.type != "cpu":
        return free
    return free // 2


def check_budget(
    transformer: Transformer,
    method: str,
    rank: int,
    folder: Path,
    *,
    kept: int = 0,
    goes_back: bool = False,
    held: int = 0,
) -> None:
    """Raise NotEnough unless a training of the layers fits into memory beside the model, and its states on the disk.

    `kept`: results that there will be in `folder`. `goes_back`: it is trained to a step before its newest, whose states
    stay. `held`: bytes of it that lie there already. A device that does not say how much memory is free is not checked.
    """
    parameters = trainable_parameters(transformer, method, rank)
    subject = f"Training {parameters / 1e6:.1f}M parameters"
    advice = "Choose a lower rank."
    if method == "full":
        advice = "Choose the method LoRA, which needs a hundredth."
    memory = adapter_training_bytes(parameters)
    free = free_memory(transformer.device)
    if free is not None and memory > free:
        raise NotEnough(f"{subject} needs {size_text(memory)} of memory, {size_text(free)} are free. {advice}")
    states = STATES
    if goes_back:
        states += 1
    disk = max(0, run_bytes(parameters, kept, states) - held)
    free_disk = _free_disk(folder)
    if held:
        subject = f"Going on with the training of {parameters / 1e6:.1f}M parameters"
        advice = "Free some space there; what was learned is kept."
    if disk > free_disk:
        raise NotEnough(
            f"{subject} needs {size_text(disk)} more of disk in {folder}, {size_text(free_disk)} are free. {advice}"
        )


def _free_disk(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def size_text(count: float) -> str:
    """Bytes as users read them: "14.2 GiB", "312 MiB", "4.1 MiB", "38 KiB"."""
    if count > 2**30:
        return f"{count / 2**30:.1f} GiB"
    if count > 10 * 2**20:
        return f"{count / 2**20:.0f} MiB"
    if count > 2**20:
        return f"{count / 2**20:.1f} MiB"
    return f"{math.ceil(count / 2**10)} KiB"
