"""int8-rotated: weights and activations in 8 bits, through comfy-kitchen, which computes the same on a CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy import FAMILY, quantized_toy, toy_lora, toy_model, toy_subject

from ar_core.quantization import QuantizationError, quantized_class
from ar_core.sampling import SamplingSettings
from ar_core.training import TrainingSettings, personalize

SCHEME = "int8-rotated"
needs_kitchen = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import comfy_kitchen"], capture_output=True).returncode != 0,
    reason="comfy-kitchen is not installed; tests/comfyui runs it in ComfyUI's Python",
)


def linear(inputs: int, outputs: int = 24) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layer = quantized_class(SCHEME, torch.nn.Linear)(inputs, outputs, bias=False, device="meta")
    weight = torch.randn(outputs, inputs) * 0.1
    weight[:, 3] *= 30  # an outlier channel, which plain rounding suffers from
    layer.store(weight)
    return layer, weight


@needs_kitchen
@pytest.mark.parametrize("inputs, group", [(256, 256), (192, 64), (48, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_product_is_that_of_the_weight(inputs, group, dtype):
    layer, weight = linear(inputs)
    assert layer.group == group and layer.weight.dtype == torch.int8 and layer.scale.shape == (24, 1)
    x = torch.randn(2, 5, inputs).to(dtype)
    expected = x.float() @ weight.T
    with torch.inference_mode():
        got = layer(x)
    assert got.shape == (2, 5, 24) and got.dtype == dtype
    assert (got.float() - expected).abs().max() < 0.06 * expected.std()
    assert (layer.restored(layer.weight, torch.float32) - weight).abs().max() < 0.02 * weight.abs().max()


@needs_kitchen
def test_gradients_are_those_of_the_restored_weight():
    layer, _ = linear(64)
    x = torch.randn(3, 64, requires_grad=True)
    gradient = torch.randn(3, 24)
    layer(x).backward(gradient)
    torch.testing.assert_close(x.grad, gradient @ layer.restored(layer.weight, torch.float32))


@needs_kitchen
def test_a_model_draws_and_learns_in_it(tmp_path):
    model = quantized_toy(SCHEME)
    settings = SamplingSettings.resolve(FAMILY, seed=3, window=4)
    plain = toy_model().generate("a photo of a dog", settings)[0].codes
    drawn = model.generate("a photo of a dog", settings)[0].codes
    assert drawn.shape == plain.shape and model.transformer.precision == "int8-rotated and float32"
    chosen = TrainingSettings.resolve(FAMILY, strategy="joint", layer_steps=3)
    learned = personalize(model, toy_subject(), chosen, tmp_path)[-1]
    exact = personalize(toy_model(), toy_subject(), chosen, tmp_path)[-1]
    assert learned.run != exact.run and learned.losses == pytest.approx(exact.losses, rel=0.05)
    assert model.personalized(toy_lora(model)).unmerged


@needs_kitchen
def test_a_layer_that_no_group_divides_is_refused():
    with pytest.raises(QuantizationError, match="a multiple of 16 inputs, this one has 40. Choose int8"):
        linear(40)


def test_without_the_package_it_says_what_to_install():
    code = (
        "import sys; sys.modules['comfy_kitchen'] = None\n"
        "from ar_core.cli import main; sys.exit(main(['info', '--device', 'cpu', '--precision', 'int8-rotated']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 1 and "needs the package comfy-kitchen" in done.stderr
