"""A whole Janus-Pro in memory, of a million parameters, for tests that train and sample; as toy.py has a miniature."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import torch
from tiny_janus import ROWS, tokenizer_text
from tokenizers import Tokenizer

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.checkpoints.find import ModelFolder
from ar_core.checkpoints.fingerprint import fingerprint
from ar_core.families.family import Family
from ar_core.families.janus_pro import JANUS_PRO_1B
from ar_core.families.protocol import Protocol
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.model import ARModel
from ar_core.text import TextTokenizer
from ar_core.training import Subject
from ar_core.transformer import Transformer

SIZE = (32, 32)
WIDTH = 16
FAMILY: Family = replace(
    JANUS_PRO_1B,
    factor=8,
    sizes=(SIZE,),
    recipe=replace(JANUS_PRO_1B.recipe, size=SIZE, batch_size=2, micro_batch=2, views=1, prior_images=3),
)
VQ = ImageTokenizerConfig(
    ch=8,
    ch_mult=(1, 2),
    num_res_blocks=1,
    z_channels=8,
    embed_dim=8,
    n_embed=FAMILY.codes,
    patch=4,
    norm_groups=2,
    low_attention=True,
)


@functools.cache
def toy_protocol() -> Protocol:
    """Janus-Pro's, for pictures of 4 x 4 codes."""
    config = {"model_type": "janus", "text_config": {"vocab_size": ROWS, "hidden_size": WIDTH}}
    return FAMILY.bind(TextTokenizer(Tokenizer.from_str(tokenizer_text())), ModelFolder(Path(), config, ()))


def toy_model(seed: int = 0) -> ARModel:
    """16 codes per picture, two layers; random weights from `seed`."""
    with torch.inference_mode(False):  # parameters made in inference mode could never be trained beside
        return _random_model(seed)


def _random_model(seed: int) -> ARModel:
    torch.manual_seed(seed)
    config = TransformerConfig(
        vocab_size=ROWS + FAMILY.codes,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_first=ROWS,
        head_size=FAMILY.codes,
        head_hidden=WIDTH,
        qk_norm=False,
        folded_codes=True,
    )
    transformer = Transformer(config)
    for parameter in transformer.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    image_tokenizer = ImageTokenizer(VQ)
    transformer.requires_grad_(False).eval()
    image_tokenizer.requires_grad_(False).eval()
    return ARModel(FAMILY, toy_protocol(), transformer, image_tokenizer, fingerprint(transformer))


def toy_subject(seed: int = 0, photos: int = 2) -> Subject:
    """Random codes instead of photos."""
    codes = torch.randint(0, FAMILY.codes, (2 * photos, 4, 4), generator=torch.Generator().manual_seed(seed))
    return Subject("dog", SIZE, codes, tuple(i // 2 for i in range(2 * photos)), f"pixels {seed}")
