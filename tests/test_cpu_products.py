"""Products through oneDNN: the same numbers, gradients included, on any CPU whose torch has them."""

from __future__ import annotations

import gc

import pytest
import torch
from torch.nn import functional as F
from toy import toy_model, toy_subject

from ar_core import TrainingSettings, cpu_products, layers, personalize

if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    pytest.skip("this torch was built without oneDNN", allow_module_level=True)


@pytest.fixture
def fast(monkeypatch):
    """As on a CPU on which these products are used; one without bfloat16 arranges and multiplies in torch's own way."""
    monkeypatch.setattr(cpu_products, "available", lambda: True)
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        in_float32 = cpu_products.product
        products = {torch.float32: in_float32, torch.bfloat16: F.linear}
        monkeypatch.setattr(cpu_products, "arrange", torch.clone)
        monkeypatch.setattr(cpu_products, "product", lambda x, weight: products[x.dtype](x, weight))
    monkeypatch.setattr(cpu_products, "PACKED", cpu_products.PackedWeights())


def pair(rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, layers.Linear]:
    torch.manual_seed(0)
    layer = layers.Linear(48, 24, bias=False, dtype=dtype).requires_grad_(False)
    return torch.randn(2, rows, 48).to(dtype), layer


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_float32_is_the_same_up_to_rounding(fast, rows):
    x, layer = pair(rows, torch.float32)
    with torch.inference_mode():
        assert torch.allclose(layer(x), F.linear(x, layer.weight), atol=1e-5)


@pytest.mark.parametrize("learns", ["x", "weight", "both"])
def test_gradients_of_float32_are_torchs(fast, learns):
    x, layer = pair(5, torch.float32)
    found = []
    for multiply in (layer, lambda given: F.linear(given, layer.weight)):
        given = x.clone().requires_grad_(learns != "weight")
        layer.weight.requires_grad_(learns != "x").grad = None
        (multiply(given) ** 2).sum().backward()
        found.append([part.grad for part in (given, layer.weight) if part.grad is not None])
    assert len(found[0]) == len(found[1]) == (2 if learns == "both" else 1)
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-4)


def arranged_for(weight: torch.Tensor) -> torch.Tensor | None:
    found = cpu_products.PACKED.kept.get(weight)
    return found and found[2]


def check(x: torch.Tensor, layer: layers.Linear) -> None:
    expected = F.linear(x, layer.weight)
    assert torch.allclose(layer(x).float(), expected.float(), atol=0.02 * float(expected.abs().max()))


def test_bfloat16_is_arranged_once_and_again_when_the_weight_changes(fast):
    x, layer = pair(2, torch.bfloat16)
    with torch.no_grad():
        check(x, layer)
        first = arranged_for(layer.weight)
        check(x, layer)
        assert first is not None and arranged_for(layer.weight) is first
        layer.weight.copy_(torch.randn(24, 48))  # in place: the address stays
        check(x, layer)
        layer.weight.data = torch.randn(24, 48).bfloat16()
        check(x, layer)
        assert arranged_for(layer.weight) is not first
    assert cpu_products.held_bytes() == layer.weight.nbytes
    cpu_products.forget()
    assert cpu_products.held_bytes() == 0 and arranged_for(layer.weight) is None


def test_arranged_weights_take_half_of_what_is_free_at_most(fast, monkeypatch):
    x, layer = pair(2, torch.bfloat16)
    _, second = pair(2, torch.bfloat16)
    monkeypatch.setattr(cpu_products, "free_memory", lambda device: 3 * layer.weight.nbytes)
    with torch.inference_mode():
        check(x, layer)
        check(x, second)
    assert arranged_for(layer.weight) is not None and arranged_for(second.weight) is None


def test_nothing_is_left_of_a_model_that_is_gone(fast):
    x, layer = pair(2, torch.bfloat16)
    with torch.inference_mode():
        layer(x)
    _, another = pair(2, torch.bfloat16)
    with torch.inference_mode():
        another(x)
    assert cpu_products.held_bytes() == 2 * another.weight.nbytes
    del layer
    gc.collect()
    assert len(cpu_products.PACKED.kept) == 1 and cpu_products.held_bytes() == another.weight.nbytes


def test_a_weight_whose_changes_nobody_counts_is_never_arranged(fast):
    x, layer = pair(2, torch.bfloat16)
    with torch.inference_mode():
        layer.weight = torch.nn.Parameter(layer.weight.clone(), requires_grad=False)
        check(x, layer)
        layer.weight.mul_(-3)
        check(x, layer)
    assert arranged_for(layer.weight) is None


def test_new_values_at_the_old_address_are_noticed(fast):
    x, layer = pair(2, torch.bfloat16)
    with torch.no_grad():
        for factor in (-1.5, 1.2, -0.7, 2.0):
            layer.weight.data = layer.weight.data * factor
            check(x, layer)


def test_a_training_gives_the_arranged_weights_back(fast, tmp_path):
    x, layer = pair(2, torch.bfloat16)
    with torch.inference_mode():
        layer(x)
    model = toy_model()
    settings = TrainingSettings.resolve(model.family, strategy="embedding_only", embedding_steps=1)
    personalize(model, toy_subject(), settings, tmp_path)
    assert arranged_for(layer.weight) is None


@pytest.mark.parametrize("rows", [1, cpu_products.PACKED_ROWS])
def test_bfloat16_learns_through_torchs_product(fast, rows):
    x, layer = pair(rows, torch.bfloat16)
    layer(x.requires_grad_()).sum().backward()
    assert x.grad is not None and arranged_for(layer.weight) is None


@pytest.mark.parametrize(
    "maker, capability, expected",
    [("AuthenticAMD", "AVX512", True), ("GenuineIntel", "AVX512", False), ("AuthenticAMD", "AVX2", False)],
)
def test_they_are_used_where_they_were_measured(monkeypatch, maker, capability, expected):
    monkeypatch.setattr(cpu_products, "processor", lambda: f"vendor_id: {maker}")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    cpu_products.available.cache_clear()
    try:
        assert cpu_products.available() == expected
    finally:
        cpu_products.available.cache_clear()


def test_an_empty_input_and_autocast_are_torchs(fast):
    layer = layers.Linear(48, 24, bias=False)
    assert layer(torch.zeros(0, 48)).shape == (0, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.zeros(5, 48)).dtype == torch.bfloat16


def test_compiled_layers_are_traced_whole(fast):
    layer = layers.Linear(48, 24, bias=False).requires_grad_(False)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for rows in (1, 2, 8):
        x = torch.randn(rows, 48)
        assert torch.allclose(compiled(x), F.linear(x, layer.weight), atol=1e-5)
