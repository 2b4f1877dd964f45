"""Products through oneDNN: the same numbers, gradients included, on any CPU whose torch has them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ar_core import cpu_products, layers

if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    pytest.skip("this torch was built without oneDNN", allow_module_level=True)


@pytest.fixture
def fast(monkeypatch):
    """As on a CPU on which these products are used."""
    monkeypatch.setattr(cpu_products, "available", lambda: True)


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


def test_bfloat16_is_arranged_once_and_again_when_the_weight_changes(fast, monkeypatch):
    calls, arrange = [], cpu_products._packed
    monkeypatch.setattr(cpu_products, "_packed", lambda weight: (calls.append(1), arrange(weight))[1])
    x, layer = pair(2, torch.bfloat16)
    with torch.inference_mode():
        for _ in range(3):
            assert torch.allclose(layer(x).float(), F.linear(x, layer.weight).float(), atol=0.03)
        assert len(calls) == 1
        layer.weight.data = torch.randn(24, 48).bfloat16()
        assert torch.allclose(layer(x).float(), F.linear(x, layer.weight).float(), atol=0.2)
    assert len(calls) == 2


def test_a_weight_is_arranged_only_where_there_is_room(fast, monkeypatch):
    monkeypatch.setattr(cpu_products, "free_memory", lambda device: cpu_products.LEFT_FREE)
    x, layer = pair(2, torch.bfloat16)
    with torch.inference_mode():
        assert torch.equal(layer(x), F.linear(x, layer.weight))
    assert not layer.weight.kept_packed[1].is_mkldnn


@pytest.mark.parametrize("rows", [1, cpu_products.PACKED_ROWS])
def test_bfloat16_learns_through_torchs_product(fast, rows):
    x, layer = pair(rows, torch.bfloat16)
    layer(x.requires_grad_()).sum().backward()
    assert x.grad is not None and not hasattr(layer.weight, "kept_packed")


def test_other_cpus_keep_torchs_products(monkeypatch):
    monkeypatch.setattr(cpu_products, "processor", lambda: "vendor_id: GenuineIntel")
    cpu_products.available.cache_clear()
    try:
        assert not cpu_products.available()
    finally:
        cpu_products.available.cache_clear()
