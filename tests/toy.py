"""A whole model in memory, of a few thousand parameters, for tests that train and sample."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from ar_core.adapters import DeltaAdapter, LowRankAdapter
from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.checkpoints.fingerprint import fingerprint
from ar_core.families.family import Family
from ar_core.families.miniature import MINIATURE
from ar_core.families.protocol import Protocol
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.model import ARModel
from ar_core.personalization import Personalization
from ar_core.quantization import quantize
from ar_core.text import TextTokenizer
from ar_core.training import Subject
from ar_core.transformer import Transformer
from workshop.world.words import build_tokenizer, known_words

SIZE = (32, 32)
FAMILY: Family = replace(
    MINIATURE,
    factor=8,
    sizes=(SIZE,),
    recipe=replace(MINIATURE.recipe, size=SIZE, batch_size=2, micro_batch=2, views=1, prior_images=3),
)


def toy_model(seed: int = 0) -> ARModel:
    """16 codes per picture, two layers; random weights from `seed`."""
    with torch.inference_mode(False):  # parameters made in inference mode could never be trained beside
        return _random_model(seed)


def _random_model(seed: int) -> ARModel:
    torch.manual_seed(seed)
    protocol = toy_protocol()
    config = TransformerConfig(
        vocab_size=1616,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_first=protocol.code_base,
        head_size=protocol.codes,
    )
    transformer = Transformer(config)
    for parameter in transformer.parameters():
        if parameter.dim() == 2 and min(parameter.shape) > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    image_tokenizer = ImageTokenizer(
        ImageTokenizerConfig(
            ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=8, embed_dim=4, n_embed=1024, patch=4, norm_groups=2
        )
    )
    transformer.requires_grad_(False).eval()
    image_tokenizer.requires_grad_(False).eval()
    return ARModel(FAMILY, protocol, transformer, image_tokenizer, fingerprint(transformer))


@functools.cache
def toy_protocol() -> Protocol:
    """The miniature's, with its text tokenizer, for pictures of 4 x 4 codes."""
    return FAMILY.bind(TextTokenizer(build_tokenizer(), known_words()))


def toy_subject(seed: int = 0, photos: int = 2) -> Subject:
    """Random codes instead of photos."""
    codes = torch.randint(0, FAMILY.codes, (2 * photos, 4, 4), generator=torch.Generator().manual_seed(seed))
    return Subject("dog", SIZE, codes, tuple(i // 2 for i in range(2 * photos)), f"pixels {seed}")


def quantized_toy(scheme: str) -> ARModel:
    """`toy_model` with its projections in `scheme`."""
    model = toy_model()
    return replace(model, base=quantize(model.base, scheme))


def toy_lora(model: ARModel, seed: int = 0) -> Personalization:
    """A personalization of `model` with random vectors and a LoRA of rank 2 that changes much."""
    torch.manual_seed(seed)
    adapter = LowRankAdapter.fresh(model.transformer, 2, seed)
    for up in adapter.up:
        up.data.normal_(std=0.5)
    return Personalization("[V]", "dog", torch.randn(1, 16), adapter, model.fingerprint, {})


def learned(model, method="lora", seed=0, vectors=1, scale=0.5):
    """A subject with random values that nothing was trained for."""
    torch.manual_seed(seed)
    if method == "lora":
        adapter = LowRankAdapter.fresh(model.transformer, 2, seed)
        for up in adapter.up:
            up.data.normal_(std=scale)
    elif method == "full":
        adapter = DeltaAdapter.fresh(model.transformer)
        for delta in adapter.delta:
            delta.data.normal_(std=scale)
    else:
        adapter = None
    return Personalization("[V]", "dog", torch.randn(vectors, 16), adapter, model.fingerprint, {"steps": 3})
