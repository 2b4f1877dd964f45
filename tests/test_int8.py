"""int8 weights: rounded to half a step, multiplied as what they stand for."""

import pytest
import torch
from torch.nn import functional as F

from ar_core.quantization import quantized_class
from ar_core.quantization.int8 import BLOCK


def linear(out, inputs, dtype, seed=0):
    torch.manual_seed(seed)
    layer = quantized_class("int8", torch.nn.Linear)(inputs, out, bias=False, device="meta")
    weight = (torch.randn(out, inputs) * torch.rand(out, 1)).to(dtype)
    layer.store(weight)
    return layer, weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_weight_is_within_half_a_step(dtype):
    layer, weight = linear(24, 40, dtype)
    weight[3] = 0
    layer.store(weight)
    assert layer.weight.dtype == torch.int8 and layer.scale.dtype == dtype
    step = layer.scale.float()[:, None]
    error = (layer.weight.float() * step - weight.float()).abs()
    assert (
        error <= 0.5 * step + 0.004 * weight.float().abs().amax(1, keepdim=True)
    ).all()  # + the rounded scale, at the extremes
    assert layer.weight.abs().max() == 127 and not layer.weight[3].any()


@pytest.mark.parametrize("rows", [1, 2, 8, 9])
@pytest.mark.parametrize("inputs", [40, 48])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_product_is_that_of_the_rounded_weights(rows, inputs, dtype):
    """Whatever the kernel: packed up to 8 rows of a multiple of 16 in bfloat16, block by block otherwise."""
    layer, _ = linear(24, inputs, dtype)
    x = torch.randn(1, rows, inputs).to(dtype)
    expected = F.linear(x.double(), layer.weight.double() * layer.scale.double()[:, None])
    got = layer(x)
    assert got.dtype == dtype and got.shape == (1, rows, 24)
    torch.testing.assert_close(got.double(), expected, atol=1e-2 if dtype != torch.float32 else 1e-5, rtol=1e-2)


def test_more_weights_than_one_block():
    layer, _ = linear(5, BLOCK // 2, torch.float32)
    x = torch.randn(2, BLOCK // 2)
    expected = F.linear(x, layer.weight.float() * layer.scale[:, None])
    torch.testing.assert_close(layer(x), expected, atol=1e-3, rtol=1e-3)


def test_float16_does_not_overflow_on_the_way():
    layer = quantized_class("int8", torch.nn.Linear)(512, 1, bias=False, device="meta")
    layer.store(torch.full((1, 512), 0.01, dtype=torch.float16))
    assert (
        abs(layer(torch.full((1, 512), 20.0, dtype=torch.float16)).item() - 102.4) < 0.2
    )  # 512 * 127 * 20 is no float16


def test_gradients_reach_the_input_and_no_copy_of_the_weights_is_kept():
    layer, _ = linear(24, 48, torch.float32)
    x = torch.randn(3, 48, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t):
        out = layer(x)
    assert not [t for t in kept if t.numel() >= 24 * 48]  # neither as they are held nor turned into 32 bits
    gradient = torch.randn(3, 24)
    out.backward(gradient)
    torch.testing.assert_close(x.grad, gradient @ (layer.weight * layer.scale[:, None]))
