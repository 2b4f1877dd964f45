"""Parity with transformers' Chameleon, and the one forward pass in all its uses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ar_core import layers
from ar_core.architecture import TransformerConfig
from ar_core.attention import Attention, scaled_dot_product
from ar_core.cache import KVCache
from ar_core.concepts import Concepts
from ar_core.transformer import Transformer

VOCABULARY = 96
SHAPES = [
    {},
    {"qk_norm_groups": 2},
    {"qk_norm_groups": 4},
    {"num_key_value_heads": 2},
    {"num_key_value_heads": 2, "qk_norm_groups": 4},  # transformers' layout: a norm for every head
    {"rope_theta": 500.0, "rms_norm_eps": 1e-2},
]


def config(**changes) -> TransformerConfig:
    values = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_first": 0,
        "head_size": VOCABULARY,
    }
    return TransformerConfig(**{**values, **changes})


def random_transformer(seed: int = 0, **changes) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(config(**changes))
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=0.5 if "norm" in name else 0.2)
    return model.requires_grad_(False).eval()


def logits(model: Transformer, ids: torch.Tensor, attention: Attention | None = None) -> torch.Tensor:
    return model.image_logits(model(model.embed(ids), attention))


def reference(model: Transformer):
    """transformers' Chameleon with the same weights: its inner model and head, around its masking of image logits."""
    import transformers
    from transformers import ChameleonConfig, ChameleonForConditionalGeneration

    c = model.config
    recent = int(transformers.__version__.split(".")[0]) >= 5
    rope = (
        {"rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta}}
        if recent
        else {"rope_theta": c.rope_theta}
    )
    chameleon = ChameleonForConditionalGeneration(
        ChameleonConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.hidden_size,
            intermediate_size=c.intermediate_size,
            num_hidden_layers=c.num_hidden_layers,
            num_attention_heads=c.num_attention_heads,
            num_key_value_heads=c.num_key_value_heads,
            rms_norm_eps=c.rms_norm_eps,
            attention_dropout=0.0,
            **rope,
            vocabulary_map={"<image>": 3, **{f"IMGIMG{chr(65 + i)}Z": 4 + i for i in range(4)}},
            attn_implementation="eager",
            vq_config={
                "embed_dim": 4,
                "num_embeddings": 4,
                "base_channels": 32,
                "channel_multiplier": [1],
                "latent_channels": 4,
            },
        )
    )
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("image_head")}
    for key, value in weights.items():
        if "q_norm" in key or "k_norm" in key:
            heads = c.num_attention_heads if "q_norm" in key else c.num_key_value_heads
            weights[key] = value.repeat_interleave(heads // len(value), 0)
    missing, unexpected = chameleon.load_state_dict(
        {**weights, "lm_head.weight": model.image_head.weight}, strict=False
    )
    assert not unexpected and all(".vqmodel." in key for key in missing if "inv_freq" not in key)
    chameleon.eval()

    def forward(ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return chameleon.lm_head(chameleon.model(input_ids=ids, use_cache=False).last_hidden_state)

    return forward


@pytest.mark.parametrize("changes", SHAPES)
def test_full_forward_equals_transformers(changes):
    model = random_transformer(**changes)
    ids = torch.randint(8, VOCABULARY, (2, 23), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(logits(model, ids), reference(model)(ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunks", [[1] * 12, [5, 7], [4, 1, 1, 6], [12]])
@pytest.mark.parametrize("slots", [12, 20])
@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 2, "qk_norm_groups": 4}])
def test_cached_decoding_equals_the_full_forward(chunks, slots, changes):
    model = random_transformer(**changes)
    ids = torch.randint(0, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(2))
    cache, start, parts = KVCache(model.config, 2, slots), 0, []
    for count in chunks:
        positions = torch.arange(start, start + count).expand(2, -1)
        parts.append(logits(model, ids[:, start : start + count], cache.at(positions)))
        start += count
    torch.testing.assert_close(torch.cat(parts, 1), reference(model)(ids), atol=1e-5, rtol=1e-5)


def test_rows_of_different_length_and_advance_equal_each_row_alone():
    """One row is 3 tokens long, one 7; then they advance by 2 of 4 and 4 of 4 drafted tokens, and go on."""
    model = random_transformer()
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randint(0, VOCABULARY, (n,), generator=generator) for n in (3, 7)]
    cache = KVCache(model.config, 2, 24)
    lengths = torch.tensor([3, 7])
    padded = torch.stack([torch.cat([rows[0], torch.zeros(4, dtype=torch.long)]), rows[1]])
    logits(model, padded, cache.at(torch.arange(7).expand(2, -1)))
    accepted = torch.tensor([2, 4])
    for _ in range(2):
        drafts = torch.randint(0, VOCABULARY, (2, 4), generator=generator)
        got = logits(model, drafts, cache.at(lengths[:, None] + torch.arange(4)))
        for k in range(2):
            alone = reference(model)(torch.cat([rows[k], drafts[k]])[None])[0, -4:]
            torch.testing.assert_close(got[k], alone, atol=1e-5, rtol=1e-5)
            rows[k] = torch.cat([rows[k], drafts[k, : accepted[k]]])
        lengths = lengths + accepted


def test_what_lies_in_slots_not_yet_reached_is_never_seen():
    model = random_transformer()
    ids = torch.randint(0, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(5))
    positions, clean, used = torch.arange(6).expand(2, -1), KVCache(model.config, 2, 16), KVCache(model.config, 2, 16)
    used.keys.fill_(1e3), used.values.fill_(-1e3)
    for part in (slice(0, 4), slice(4, 6)):
        expected = logits(model, ids[:, part], clean.at(positions[:, part]))
        assert torch.equal(logits(model, ids[:, part], used.at(positions[:, part])), expected)


def test_reading_fewer_slots_changes_nothing():
    model = random_transformer()
    ids = torch.randint(0, VOCABULARY, (1, 6), generator=torch.Generator().manual_seed(4))
    positions = torch.arange(6)[None]
    few = logits(model, ids, KVCache(model.config, 1, 64).at(positions, slots=6))
    every = logits(model, ids, KVCache(model.config, 1, 64).at(positions))
    torch.testing.assert_close(few, every, atol=1e-6, rtol=1e-6)


def test_the_head_covers_the_image_codes_alone():
    whole, part = random_transformer(), random_transformer(head_first=4, head_size=10)
    part.load_state_dict({**whole.state_dict(), "image_head.weight": whole.image_head.weight[4:14]})
    ids = torch.arange(8)[None]
    torch.testing.assert_close(logits(part, ids), logits(whole, ids)[..., 4:14])


def test_learned_rows_replace_reserved_tokens_and_take_all_the_gradient():
    model = random_transformer()
    rows = torch.randn(2, 32, requires_grad=True)
    ids = torch.tensor([[5, 70, 71, 72, 6]])
    entering = Concepts.stacked([rows[None]], 70).placed_in(ids)
    table = model.model.embed_tokens.weight
    entered = entering(0, model.embed(ids))
    assert torch.equal(entered[0, 1:3], rows) and torch.equal(entered[0, [0, 3, 4]], table[[5, 72, 6]])
    model(model.embed(ids), entering=entering).sum().backward()
    assert rows.grad.abs().sum() > 0 and table.grad is None


def test_gradient_checkpointing_is_exact():
    model = random_transformer().requires_grad_(True)
    ids = torch.arange(12)[None]
    gradients = []
    for model.gradient_checkpointing in (False, True):
        model.zero_grad()
        logits(model, ids).square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_every_layer_comes_from_the_injected_operations():
    made = []

    class Operations:
        """The shape of comfy.ops: classes with torch.nn's signatures."""

        Linear = type(
            "Linear",
            (nn.Linear,),
            {"__init__": lambda self, *a, **k: (made.append("Linear"), nn.Linear.__init__(self, *a, **k))[1]},
        )
        Embedding = type(
            "Embedding",
            (nn.Embedding,),
            {"__init__": lambda self, *a, **k: (made.append("Embedding"), nn.Embedding.__init__(self, *a, **k))[1]},
        )
        RMSNorm = type(
            "RMSNorm",
            (nn.RMSNorm,),
            {"__init__": lambda self, *a, **k: (made.append("RMSNorm"), nn.RMSNorm.__init__(self, *a, **k))[1]},
        )

    model = Transformer(config(), operations=Operations, device="meta")
    own = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Embedding, nn.RMSNorm))]
    assert len(made) == len(own) == 1 + 1 + 1 + 3 * (7 + 2)
    assert not list(model.buffers())


def test_head_norms_follow_their_input():
    """A host may leave a module's own parameters in another type than the stream."""
    model = random_transformer().to(torch.bfloat16)
    for layer in model.model.layers:
        layer.self_attn.q_norm.float()
    assert logits(model, torch.arange(4)[None]).isfinite().all()


def test_the_7b_has_the_published_number_of_parameters():
    model = Transformer(TransformerConfig(), device="meta")
    assert sum(p.numel() for p in model.model.layers.parameters()) == 6_476_283_904


@pytest.mark.parametrize("shape", [(2, 1, 16), (1, 2, 16), (3, 1, 16), (2, 2, 16), (1, 1, 16)])
def test_the_linear_layer_for_decoding_is_the_same_product(shape):
    layer, x = layers.Linear(16, 24, bias=False), torch.randn(shape)
    with torch.no_grad():
        assert torch.allclose(layer(x), torch.nn.functional.linear(x, layer.weight), atol=1e-6)
    layer(x.requires_grad_()).sum().backward()  # and it still learns
    assert x.grad is not None and layer.weight.grad is not None


def test_one_token_at_a_time_in_bfloat16_is_as_close_as_many():
    """On a CPU one query is computed as two: the first must be the answer, whatever the cache holds beyond."""
    model = random_transformer(num_key_value_heads=2)
    ids = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(3))
    expected = logits(model, ids)
    model = model.bfloat16()
    cache = KVCache(model.config, 2, 16, dtype=torch.bfloat16)
    steps = [logits(model, ids[:, i : i + 1], cache.at(torch.full((2, 1), i))) for i in range(ids.shape[1])]
    together = logits(model, ids)
    error = lambda got: float((got - expected).abs().mean() / expected.std())  # noqa: E731
    assert error(torch.cat(steps, 1)) < 2 * error(together) + 1e-3 and error(together) < 0.1


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_attention_takes_no_keyword_that_torch_2_4_lacks(kv_heads, monkeypatch):
    """Another pack may also have put a function of its own there."""
    real = F.scaled_dot_product_attention

    def of_torch_2_4(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None):
        return real(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)

    torch.manual_seed(0)
    q = torch.randn(1, 3, 4, 8)
    k, v = torch.randn(2, 1, 3, kv_heads, 8)
    expected = scaled_dot_product(q, k, v, None)
    monkeypatch.setattr(F, "scaled_dot_product_attention", of_torch_2_4)
    assert torch.equal(scaled_dot_product(q, k, v, None), expected)
