"""4-bit weights: each block on the levels of NormalFloat, multiplied as what it stands for."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("bitsandbytes")

from ar_core.quantization import quantized_class
from ar_core.quantization.nf4 import BLOCK

# Quantiles of a normal distribution, as the paper defines them (arXiv 2305.14314, appendix E).
LEVELS = torch.tensor(
    [
        -1.0,
        -0.6961928,
        -0.52507305,
        -0.3949175,
        -0.28444138,
        -0.18477343,
        -0.09105004,
        0.0,
        0.0795803,
        0.1609302,
        0.2461123,
        0.33791524,
        0.44070983,
        0.562617,
        0.72295684,
        1.0,
    ]
)


def linear(out, inputs, dtype, seed=0):
    torch.manual_seed(seed)
    layer = quantized_class("4-bit", torch.nn.Linear)(inputs, out, bias=False, device="meta")
    weight = (torch.randn(out, inputs) * 0.1).to(dtype)
    layer.store(weight)
    return layer, weight


def stood_for(weight):
    """The paper's rounding in plain torch: the nearest level times the block's largest magnitude."""
    flat = weight.float().flatten()
    blocks = F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = LEVELS[(blocks[..., None] / largest[..., None] - LEVELS).abs().argmin(-1)]
    return (nearest * largest).flatten()[: len(flat)].view_as(weight)


@pytest.mark.parametrize(
    "shape", [(24, 64), (24, 40), (7, 192)]
)  # blocks that end with a row, and that go on in the next
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_product_is_that_of_the_nearest_levels(shape, dtype):
    layer, weight = linear(*shape, dtype)
    assert (
        layer.weight.dtype == torch.uint8
        and layer.weight.numel() == weight.numel() / 2
        and layer.absmax.dtype == torch.float32
    )
    for rows in (1, 2, 9):
        x = torch.randn(1, rows, shape[1]).to(dtype)
        got, expected = layer(x), F.linear(x.double(), stood_for(weight).double())
        assert got.dtype == dtype and got.shape == (1, rows, shape[0])
        torch.testing.assert_close(got.double(), expected, atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=1e-2)


def test_gradients_reach_the_input_alone():
    layer, weight = linear(24, 64, torch.float32)
    x = torch.randn(3, 64, requires_grad=True)
    gradient = torch.randn(3, 24)
    layer(x).backward(gradient)
    torch.testing.assert_close(x.grad, gradient @ stood_for(weight))
    assert layer.weight.grad is None and layer.absmax.grad is None


def test_nothing_is_fetched_from_a_hub(tmp_path):
    """In a process of its own, since bitsandbytes looks for the package `kernels` when it is imported."""
    (tmp_path / "kernels.py").write_text("def get_kernel(*_, **__):\n    print('FETCHED')\n    raise ImportError\n")
    load = "from ar_core import ARModel; ARModel.load(quantized='4-bit')"
    code = f"{load}; import kernels; print(kernels.get_kernel.__name__)"
    path = [str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["get_kernel"] and "kernels" not in done.stderr


def test_a_layer_keeps_what_bitsandbytes_knows_it_by_until_it_changes():
    layer, _ = linear(24, 64, torch.float32)
    x = torch.randn(2, 64)
    first, state = layer(x), layer._kept_state
    assert torch.equal(layer(x), first) and layer._kept_state is state
    layer(x.bfloat16())
    assert layer._kept_state.dtype == torch.bfloat16
    layer.store(torch.randn(24, 64))  # other weights: another scale
    assert not torch.equal(layer(x), first) and layer._kept_state.absmax is layer.absmax
