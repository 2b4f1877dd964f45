"""Estimates that a host relies on: exact where they can be, and growing with what grows."""

import pytest
import torch

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.cache import KVCache
from ar_core.families.lumina_mgpt import LUMINA_768
from ar_core.families.miniature import MINIATURE
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.memory import (
    FLOAT32,
    PROMPT_TOKENS,
    image_bytes,
    picture_bytes,
    sampling_bytes,
    trainable_parameters,
    training_bytes,
    weight_bytes,
)
from ar_core.model import ARModel
from ar_core.quantization import quantize
from ar_core.transformer import Transformer
from benchmarks.random_checkpoint import protocol_of

PROTOCOL, SIZE = protocol_of(LUMINA_768), (768, 768)


def test_the_cache_is_counted_exactly():
    config = TransformerConfig(
        vocab_size=99,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    cache = KVCache(config, 2, PROMPT_TOKENS + 16 * 17, dtype=torch.float16)
    held = cache.keys.nbytes + cache.values.nbytes
    assert KVCache.bytes(config, 2, cache.slots, 2) == held
    assert held < sampling_bytes(config, ARModel.load().protocol, MINIATURE.recipe.size, 1, 4.0, 2)


def test_the_7b_weighs_what_its_files_do():
    transformer = Transformer(TransformerConfig(), device="meta", dtype=torch.bfloat16)
    assert weight_bytes(transformer) == 2 * sum(p.numel() for p in transformer.parameters())
    assert 12.5 < weight_bytes(transformer) / 2**30 < 13  # 7.0B parameters without the rows that are never sampled
    assert trainable_parameters(transformer, "lora", 64) == 50_331_648  # the paper's long version reports 50.4M


def test_more_of_anything_needs_more():
    config = TransformerConfig()
    sampling = lambda size=SIZE, images=1, cfg=4.0: sampling_bytes(config, PROTOCOL, size, images, cfg, 2)  # noqa: E731
    assert sampling(cfg=1) < sampling() < sampling(images=2) and sampling((512, 512)) < sampling()
    training = lambda batch=1, checkpointing=True, count=0: training_bytes(
        config, PROTOCOL, SIZE, batch, checkpointing, 2, count
    )  # noqa: E731
    assert training() < training(2) and training() < training(checkpointing=False)
    assert training(count=1000) - training() == 1000 * 4 * FLOAT32
    assert image_bytes(ImageTokenizerConfig(), (512, 512)) < image_bytes(ImageTokenizerConfig(), SIZE)


@pytest.mark.parametrize("scheme, card", [("int8", 11), ("4-bit", 7.2)])
def test_a_small_card_holds_the_7b_with_a_picture_of_768_px(scheme, card):
    """Computed. 11 and 7.2 GiB: what cards sold with 12 and 8 GB leave beside a desktop."""
    vq, transformer = ImageTokenizerConfig(), Transformer(TransformerConfig(), device="meta", dtype=torch.bfloat16)
    need = lambda: weight_bytes(transformer) + picture_bytes(transformer, vq, PROTOCOL, SIZE, 1, 4.0, previews=False)  # noqa: E731
    assert need() > card * 2**30
    quantize(transformer, scheme)
    assert need() + weight_bytes(ImageTokenizer(vq, device="meta")) < card * 2**30
