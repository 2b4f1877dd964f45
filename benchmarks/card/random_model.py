"""A transformer of the 7B's dimensions with random weights, made on the card and never anywhere else."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ar_core import layers
from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.families.family import Family
from ar_core.families.lumina_mgpt import LUMINA_512, LUMINA_768, LUMINA_1024
from ar_core.quantization import quantize
from ar_core.transformer import Transformer

from ..common.machine import default_device

PROMPT = [0, *range(16384, 16384 + 38), 8710]
STD = 0.02  # of a weight
FIXED = {".scale": 2 * STD / 127, ".absmax": 2 * STD, "norm.weight": 1.0, "norm.bias": 0.0}  # by the ends of names
FAMILIES: dict[int, Family] = {512: LUMINA_512, 768: LUMINA_768, 1024: LUMINA_1024}  # by the side of a picture


def is_rehearsal() -> bool:
    """Whether there is no card: everything is tiny then."""
    return default_device().type != "cuda"


def dimensions() -> TransformerConfig:
    """The 7B's, or tiny ones in a rehearsal."""
    whole = TransformerConfig()
    if not is_rehearsal():
        return whole
    return replace(
        whole,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )


def tokenizer_dimensions() -> ImageTokenizerConfig:
    """Those of Chameleon's image tokenizer, or tiny ones in a rehearsal."""
    whole = ImageTokenizerConfig()
    if not is_rehearsal():
        return whole
    return replace(whole, ch=32)


def random_transformer(
    scheme: str | None = None, dtype: torch.dtype = torch.bfloat16, config: TransformerConfig | None = None
) -> Transformer:
    """In `dtype`, its projections in `scheme` where that is given; no other form of them is ever in memory.

    `config` None: `dimensions`.
    """
    device = default_device()
    torch.manual_seed(0)
    model = Transformer(config or dimensions(), operations=layers, device="meta", dtype=dtype)
    if scheme:
        quantize(model, scheme)
    for name, parameter in list(model.named_parameters()):
        owner = model.get_submodule(name.rpartition(".")[0])
        made = random_values(name, parameter, device)
        setattr(owner, name.rpartition(".")[2], torch.nn.Parameter(made, requires_grad=False))
    return model.requires_grad_(False).eval()


def random_values(name: str, like: Tensor, device: torch.device) -> Tensor:
    """Values for one parameter: integers over their range, scales that give weights of about STD, norms around 1."""
    if not like.dtype.is_floating_point:
        limits = torch.iinfo(like.dtype)
        return torch.randint(limits.min + 1, limits.max, like.shape, dtype=like.dtype, device=device)
    made = torch.empty(like.shape, dtype=like.dtype, device=device)
    for ending, value in FIXED.items():
        if name.endswith(ending):
            return made.fill_(value)
    return made.normal_(0, STD)


def bytes_read(model: Transformer) -> int:
    """What one step must read of the weights: the layers and the image codes' head."""
    return sum(p.nbytes for p in (*model.model.layers.parameters(), *model.image_head.parameters()))
