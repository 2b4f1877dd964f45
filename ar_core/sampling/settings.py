"""What a user may set when sampling; what is left open is the family's recipe. cfg 0 is meant as it stands."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from .. import cpu_products
from ..families.family import Family
from ..families.protocol import Size

WINDOWS = (1, 4, 8, 16, 32, 64)
LARGEST_CFG = 100
LARGEST_SIDE = 100_000  # pixels
LARGEST_TEMPERATURE = 100
SMALL = 512  # channels; in models up to here a step on a CPU is mostly overhead, which a window shares


class Best(NamedTuple):
    """The fastest window by the number of images in a batch."""

    one: int
    up_to_four: int
    more: int


CPU_SMALL_MODEL = Best(16, 4, 1)
CPU_SLOW_PRODUCTS = Best(1, 1, 1)  # float32 and int8: several rows cost as much as several steps
CPU = Best(8, 4, 1)
CARD_FLOAT32 = Best(16, 8, 8)
CARD = Best(64, 32, 16)
# bitsandbytes reads 4 bits directly up to about 8 rows (with guidance two for every position) and turns whole layers
# into 16 bits above: by its own table (0.50) for 3060 to H100 and the 7B's shapes.
CARD_4_BIT = Best(4, 1, 1)


@dataclass(frozen=True)
class SamplingSettings:
    """Resolved values of one sampling."""

    cfg: float = field(metadata={"help": "how strictly the prompt is followed; 1 switches guidance off"})
    top_k: int = field(metadata={"help": "how many of the likeliest codes are drawn from; 0: the recipe's"})
    temperature: float = field(metadata={"help": "1 samples as trained; lower is calmer, higher wilder; above 0"})
    size: Size = field(metadata={"help": "of the images, snapped to the nearest allowed"})
    seed: int = field(metadata={"help": "the same seed gives the same images on the same machine"})
    window: int = field(
        default=0,
        metadata={"help": "positions decoded at a time: 1 is sequential, 0 the fastest here", "choices": (0, *WINDOWS)},
    )

    @classmethod
    def resolve(
        cls,
        family: Family,
        *,
        cfg: float | None = None,
        top_k: int | None = None,
        temperature: float | None = None,
        size: Size | None = None,
        seed: int = 0,
        window: int = 0,
    ) -> SamplingSettings:
        """Fill what is left open from the recipe; clamp top-k to the number of codes, snap the size.

        Raises ValueError, naming range and value, for what cannot be meant.
        """
        recipe = family.recipe
        cfg = recipe.cfg if cfg is None else float(cfg)
        temperature = temperature or recipe.temperature
        top_k = top_k or recipe.top_k
        if not 0 <= cfg <= LARGEST_CFG:
            raise ValueError(
                f"cfg is {cfg}; it must be from 0 to {LARGEST_CFG} (1 switches guidance off, {recipe.cfg} is the "
                "recipe)."
            )
        if not 0 < temperature <= LARGEST_TEMPERATURE:
            raise ValueError(
                f"temperature is {temperature}; it must be above 0 and at most {LARGEST_TEMPERATURE} (1.0 samples as "
                "trained)."
            )
        if top_k < 0:
            raise ValueError(f"top_k is {top_k}; it must be at least 1, or 0 for the recipe's {recipe.top_k}.")
        if not size or not any(size):
            size = recipe.size
        if not 0 < min(size) <= max(size) <= LARGEST_SIDE:
            raise ValueError(
                f"size is {size[0]}x{size[1]}; both sides must be above 0 and up to {LARGEST_SIDE}, or "
                "both 0 for the recipe's size."
            )
        if window not in (0, *WINDOWS):
            raise ValueError(
                f"window is {window}; choose one of {', '.join(map(str, WINDOWS))}, or 0 to let the device decide."
            )
        size = family.snap(*size)
        return cls(cfg, min(top_k, family.codes), temperature, size, int(seed), window)

    def describe(self) -> dict[str, object]:
        """The resolved values, for printing and for the metadata of images."""
        return {**asdict(self), "size": f"{self.size[0]}x{self.size[1]}"}


def code_uniforms(seed: int, image: int, count: int) -> Tensor:
    """The numbers in [0, 1) that image number `image` uses, in order: they depend on nothing but (seed, image)."""
    return uniforms(seeded_generator(f"{seed} {image}"), count)


def uniforms(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers in [0, 1) on the CPU in float32, whatever another part of the process made torch's default."""
    return torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")


def seeded_generator(name: str) -> torch.Generator:
    """Random numbers on the CPU that depend on `name` alone."""
    key = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)


def auto_window(device: str, dtype: torch.dtype, images: int, hidden: int, quantized: str | None = None) -> int:
    """The window that pays on a device class ("cpu", "cuda", ...) for `images` at once.

    It comes from a fixed table, so that pictures do not depend on a measurement. A window costs hardly more than one
    position as long as reading the weights takes longer than multiplying with them; a CPU reaches that point with few
    rows (docs/performance.md), a graphics card with a hundred in 16 bits.
    """
    if device == "cpu" and hidden <= SMALL:
        best = CPU_SMALL_MODEL
    elif device == "cpu" and (quantized == "int8" or (dtype == torch.float32 and not cpu_products.available())):
        best = CPU_SLOW_PRODUCTS
    elif device == "cpu":
        best = CPU
    elif quantized == "4-bit":
        best = CARD_4_BIT
    elif dtype == torch.float32:
        best = CARD_FLOAT32
    else:
        best = CARD
    if images == 1:
        return best.one
    if images <= 4:
        return best.up_to_four
    return best.more
