"""What upstream's inference does for every token, on random weights that our decoders can take too.

Two unbatched forward passes per token (with and without the prompt), a cache that grows by concatenation, logits over
the full vocabulary, a mask down to the image codes, top-k, softmax, multinomial, and forward passes for row ends too.
Both ways use this project's layers, so that a ratio holds nothing but the decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ar_core import layers
from ar_core.architecture import TransformerConfig
from ar_core.attention import Attention, causal_mask, scaled_dot_product
from ar_core.families.lumina_mgpt import LUMINA_512
from ar_core.families.protocol import size_frontier
from ar_core.quantization import quantize
from ar_core.sampling import SamplingSettings
from ar_core.sampling.engine import Engine
from ar_core.transformer import Transformer

from ..random_checkpoint import protocol_of

CONFIG = TransformerConfig(
    hidden_size=1024, intermediate_size=2752, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8
)
PROMPT = [0, *range(16384, 16384 + 38), 8710]


@dataclass
class Model:
    """Random weights in one dtype; `head` is the full output head, which only the baseline needs."""

    transformer: Transformer
    head: nn.Linear
    settings: SamplingSettings

    @classmethod
    def random(cls, device: torch.device, pixels: int, seed: int = 0) -> Model:
        torch.manual_seed(seed)
        transformer = Transformer(CONFIG, operations=layers, device=device).requires_grad_(False).eval()
        head = nn.Linear(CONFIG.hidden_size, CONFIG.vocab_size, bias=False, device=device).requires_grad_(False)
        (codes,) = transformer.image_head.parameters()
        head.weight[CONFIG.head_first : CONFIG.head_first + CONFIG.head_size] = codes
        family = replace(LUMINA_512, sizes=size_frontier(pixels))
        settings = SamplingSettings.resolve(family, size=(pixels, pixels), seed=seed)
        return cls(transformer, head, settings)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def to(self, dtype: torch.dtype, scheme: str | None = None) -> Model:
        """This model from now on in `dtype`; nothing of the former remains."""
        transformer = self.transformer.to(dtype)
        if scheme:
            quantize(transformer, scheme)
        return replace(self, transformer=transformer, head=self.head.to(dtype))

    def engine(self, window: int = 1) -> Engine:
        """An engine for one picture with `PROMPT`."""
        protocol = protocol_of(LUMINA_512)
        size = self.settings.size
        prompt = PROMPT + protocol.header(size)
        return Engine(
            self.transformer,
            protocol,
            [prompt],
            size,
            self.settings.cfg,
            spare=window,
        )

    @property
    def layer_weights(self) -> int:
        return sum(p.numel() for p in self.transformer.model.layers.parameters())

    @property
    def bytes_per_step(self) -> int:
        """What no exact decoder can avoid reading for one code: the layers and the image codes' head."""
        read = (self.transformer.model.layers, self.transformer.image_head)
        return sum(parameter.nbytes for module in read for parameter in module.parameters())


class GrowingCache(Attention):
    """The cache of Hugging Face's default: one concatenation per layer, step, and of keys and values."""

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if layer in self.layers:
            old_k, old_v = self.layers[layer]
            k = torch.cat([old_k, k], 1)
            v = torch.cat([old_v, v], 1)
        self.layers[layer] = (k, v)
        return scaled_dot_product(q, k, v, self.mask)

    def at(self, positions: Tensor, length: int) -> GrowingCache:
        """For tokens at `positions` (1, T), with which the sequence has `length` tokens."""
        self.positions = positions
        self.mask = causal_mask(positions, length, self.dtype)
        return self


class Branch:
    """One unbatched sequence: tokens in, logits over the full vocabulary out."""

    def __init__(self, transformer: Transformer, head: nn.Linear):
        self.transformer = transformer
        self.head = head
        self.cache = GrowingCache(transformer.dtype)
        self.length = 0

    def feed(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(self.length, self.length + len(tokens), device=tokens.device)[None]
        self.length += len(tokens)
        hidden = self.transformer(self.transformer.embed(tokens[None]), self.cache.at(positions, self.length))
        return self.head(hidden[0, -1:])[0].float()


class Naive:
    """Upstream's inference for one image, token by token."""

    def __init__(self, model: Model):
        self.settings = model.settings
        self.device = model.device
        self.protocol = protocol_of(LUMINA_512)
        self.columns = self.protocol.layout(model.settings.size).columns
        self.branches = (Branch(model.transformer, model.head), Branch(model.transformer, model.head))
        header = self.protocol.header(model.settings.size)
        self.starts = (PROMPT + header, header)
        self.forbidden = torch.ones(CONFIG.vocab_size, dtype=torch.bool, device=self.device)
        self.forbidden[self.protocol.code_base : self.protocol.code_base + self.protocol.codes] = False

    def prefill(self) -> Tensor:
        return self.guided([torch.tensor(start, device=self.device) for start in self.starts])

    def advance(self, token: Tensor) -> Tensor:
        return self.guided([token, token])

    def guided(self, tokens: list[Tensor]) -> Tensor:
        conditional = self.branches[0].feed(tokens[0])
        unconditional = self.branches[1].feed(tokens[1])
        return self.settings.cfg * (conditional - unconditional) + unconditional

    def draw(self, logits: Tensor) -> Tensor:
        scores = logits.masked_fill(self.forbidden, float("-inf"))
        threshold = scores.topk(self.settings.top_k).values[-1]
        scores = scores.masked_fill(scores < threshold, float("-inf")) / self.settings.temperature
        return torch.multinomial(torch.softmax(scores, -1), 1)

    @torch.inference_mode()
    def decode(self, count: int, tick: Callable[[int], None]) -> None:
        """Draw `count` codes; `tick` hears of each."""
        row_end = torch.tensor([self.protocol.row_end], device=self.device)
        logits = self.prefill()
        for index in range(count):
            token = self.draw(logits)
            tick(index + 1)
            if index + 1 < count:
                logits = self.advance(token)
                if (index + 1) % self.columns == 0:
                    logits = self.advance(row_end)
