"""A transformer, a protocol and prompts so small that everything decoding does can be computed by hand."""

from __future__ import annotations

import torch

from ar_core.architecture import TransformerConfig
from ar_core.families.protocol import Protocol
from ar_core.sampling import SamplingSettings
from ar_core.transformer import Transformer

SIZE, ROWS, COLUMNS = (24, 32), 4, 3
PROTOCOL = Protocol(
    text=None,  # nothing here is tokenised
    instruction="{width}x{height} {prompt}",
    begin=0,
    turn_end=1,
    image_start=2,
    image_end=3,
    row_end=4,
    size_base=17,
    size_unit=8,
    code_base=5,
    codes=12,
    factor=8,
    identifier_base=24,
    identifiers=4,
    control=frozenset(range(28)),
)
TEXT = range(28, 60)
PROMPTS = [[0, 30, 31, 1], [0, 40, 25, 41, 42, 43, 24, 44, 45, 1], [0, 1], [0, *TEXT[:16], 1]]
LARGEST = 1 - 2**-24  # of all numbers that torch.rand gives


def tiny_transformer(seed=0):
    torch.manual_seed(seed)
    config = TransformerConfig(
        vocab_size=60,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_first=PROTOCOL.code_base,
        head_size=PROTOCOL.codes,
    )
    transformer = Transformer(config)
    for parameter in transformer.parameters():
        if parameter.dim() == 2 and min(parameter.shape) > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return transformer.requires_grad_(False).eval()


MODEL = tiny_transformer()


def settings(**chosen):
    return SamplingSettings(**{"cfg": 4.0, "top_k": 8, "temperature": 0.9, "size": SIZE, "seed": 7, **chosen})


def with_header(prompts, size=SIZE, protocol=PROTOCOL):
    """Everything before the first code."""
    return [prompt + protocol.header(size) for prompt in prompts]
