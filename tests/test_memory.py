"""Estimates that a host relies on: exact where they can be, and growing with what grows."""

from dataclasses import replace

import pytest
import torch
from toy import FAMILY, toy_model, toy_subject

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.cache import KVCache
from ar_core.families.janus_pro import JANUS_PRO_1B
from ar_core.families.lumina_mgpt import LUMINA_768
from ar_core.families.miniature import MINIATURE
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.memory import (
    FLOAT32,
    PROMPT_TOKENS,
    drawing_bytes,
    image_bytes,
    learning_bytes,
    picture_bytes,
    run_bytes,
    sample_bytes,
    sampling_bytes,
    trainable_parameters,
    training_bytes,
    weight_bytes,
)
from ar_core.model import ARModel
from ar_core.quantization import quantize
from ar_core.training import TrainingSettings, personalize
from ar_core.training.settings import EMBEDDING, LAYERS
from ar_core.training.trainable import adapter_parameters
from ar_core.transformer import Transformer
from benchmarks import memory
from benchmarks.common.counted import JANUS_1B
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

    def sampling(size=SIZE, images=1, cfg=4.0):
        return sampling_bytes(config, PROTOCOL, size, images, cfg, 2)

    assert sampling(cfg=1) < sampling() < sampling(images=2) and sampling((512, 512)) < sampling()

    def training(batch=1, checkpointing=True, count=0):
        return training_bytes(config, PROTOCOL, SIZE, batch, checkpointing, 2, count)

    assert training() < training(2) and training() < training(checkpointing=False)
    assert training(count=1000) - training() == 1000 * 4 * FLOAT32
    assert image_bytes(ImageTokenizerConfig(), (512, 512)) < image_bytes(ImageTokenizerConfig(), SIZE)


def test_the_counted_memory_of_janus_pro_1b_is_that_of_its_shapes():
    """A picture and both stages of 576 codes without row ends, one pair at a time, checkpointed, in bfloat16."""
    found = memory.bytes_by_use(JANUS_1B, (384, 384))
    config, protocol = JANUS_1B.transformer, protocol_of(JANUS_PRO_1B)
    transformer = Transformer(config, device="meta", dtype=torch.bfloat16)
    weights = weight_bytes(transformer) + weight_bytes(ImageTokenizer(JANUS_1B.image_tokenizer, device="meta"))
    assert found["weights"] == weights and 3.0 < weights / 2**30 < 3.2
    picture = picture_bytes(transformer, JANUS_1B.image_tokenizer, protocol, (384, 384), 1, 5.0, previews=False)
    assert found["one picture"] == weights + picture
    assert KVCache.bytes(config, 2, PROMPT_TOKENS + 576, 2) < picture < 2**29
    lora = trainable_parameters(transformer, "lora", 64)
    assert lora == 18_874_368  # 3 projections of 24 layers, 64 x (2048 + 2048) each
    for use, count in (("stage 1", 0), ("stage 2, LoRA rank 64", lora), ("stage 2, full q/k/v", 3 * 24 * 2048**2)):
        assert found[use] == weights + training_bytes(config, protocol, (384, 384), 1, True, 2, count)


@pytest.mark.parametrize("scheme, card", [("int8", 11), ("4-bit", 7.2)])
def test_a_small_card_holds_the_7b_with_a_picture_of_768_px(scheme, card):
    """Computed. 11 and 7.2 GiB: what cards sold with 12 and 8 GB leave beside a desktop."""
    vq, transformer = ImageTokenizerConfig(), Transformer(TransformerConfig(), device="meta", dtype=torch.bfloat16)

    def need():
        picture = picture_bytes(transformer, vq, PROTOCOL, SIZE, 1, 4.0, previews=False)
        return weight_bytes(transformer) + picture

    assert need() > card * 2**30
    quantize(transformer, scheme)
    assert need() + weight_bytes(ImageTokenizer(vq, device="meta")) < card * 2**30


def test_the_bytes_of_a_stage_are_those_of_its_shapes():
    model = toy_model()
    config, vq, recipe = model.transformer.config, model.image_tokenizer.config, FAMILY.recipe
    settings = TrainingSettings.resolve(FAMILY, rank=2)
    assert adapter_parameters(model.transformer, settings, EMBEDDING) == 0
    count = adapter_parameters(model.transformer, settings, LAYERS)
    assert count == trainable_parameters(model.transformer, "lora", 2)
    shapes = (config, model.protocol, recipe.size)
    learning = learning_bytes(model, 4, False, count)
    assert learning == max(training_bytes(*shapes, 4, False, 4, count), image_bytes(vq, recipe.size))
    picture = picture_bytes(model.transformer, vq, model.protocol, recipe.size, 1, recipe.cfg, previews=False)
    assert sample_bytes(model, count) == picture + 4 * count * FLOAT32


def test_what_a_personalization_takes_while_drawing_merged_and_beside_the_weights(tmp_path):
    model = toy_model()
    settings = TrainingSettings.resolve(FAMILY, strategy="joint", layer_steps=1, rank=2)
    learned = personalize(model, toy_subject(), settings, tmp_path)[-1].personalization
    assert all(p.device.type == "cpu" and p.grad is None for p in learned.adapter.parameters())
    assert not any(p.requires_grad for p in learned.adapter.parameters())
    config = model.transformer.config
    copied = 3 * config.num_hidden_layers * config.hidden_size**2 * FLOAT32  # q, k and v, into which it is merged
    plain = drawing_bytes(model, FAMILY.recipe.size, 1, 4.0)
    assert drawing_bytes(model.personalized(learned), FAMILY.recipe.size, 1, 4.0) == plain + copied
    count = trainable_parameters(model.transformer, "lora", 2)
    quantize(model.transformer, "int8")
    plain = drawing_bytes(model, FAMILY.recipe.size, 1, 4.0)
    assert drawing_bytes(model.personalized(learned), FAMILY.recipe.size, 1, 4.0) == plain + count * FLOAT32


def test_a_run_takes_the_disk_that_is_announced(tmp_path):
    """Three states while one is being written, and the kept steps, but for names, losses and a few numbers."""
    settings = TrainingSettings.resolve(FAMILY, strategy="joint", layer_steps=1, rank=64)
    for steps in (1, 2, 3):
        run = personalize(toy_model(), toy_subject(), replace(settings, layer_steps=steps), tmp_path)[-1].run
    announced = run_bytes(trainable_parameters(toy_model().transformer, "lora", 64), kept=3)
    taken = sum(path.stat().st_size for path in run.rglob("*.safetensors"))
    taken += (run / "state.safetensors").stat().st_size  # of the partial file
    assert announced < taken < 1.25 * announced
