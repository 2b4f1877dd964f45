"""Tiny models under the names that a template asks for, in the folders where users copy the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

UPSCALE_MODEL = Path("upscale_models") / "RealESRGAN_x4plus.pth"
SCALE = 4
FEATURES = 3  # one for each colour
GROWTH = 32  # features that each convolution of a dense block adds; spandrel takes no other number


def write_janus(folder: Path) -> None:
    """A random Janus-Pro in deepseek-ai's layout. Skips where transformers, which makes it, has none."""
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "JanusConfig"):
        pytest.skip("this transformers has no Janus (4.57 has), so it is NOT tested here")
    from tiny_janus import write_deepseek

    write_deepseek(folder)


def write_janus_and_upscaler(models: Path) -> None:
    """A random Janus-Pro-1B, and an upscale model that repeats every pixel."""
    write_janus(models / "Janus-Pro" / "Janus-Pro-1B")
    path = models / UPSCALE_MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params_ema": esrgan_weights()}, path)


def esrgan_weights() -> dict[str, torch.Tensor]:
    """A Real-ESRGAN of one block by the names of the published one, whose layers hand three colours on."""
    weights = {}

    def layer(name: str, inputs: int = FEATURES, outputs: int = FEATURES, passes: bool = True) -> None:
        kernel = torch.zeros(outputs, inputs, 3, 3)
        if passes:
            kernel[:, :, 1, 1] = torch.eye(outputs)
        weights[f"{name}.weight"] = kernel
        weights[f"{name}.bias"] = torch.zeros(outputs)

    layer("conv_first")
    for dense in (1, 2, 3):
        for number in range(4):
            layer(f"body.0.rdb{dense}.conv{number + 1}", FEATURES + number * GROWTH, GROWTH, passes=False)
        layer(f"body.0.rdb{dense}.conv5", FEATURES + 4 * GROWTH, passes=False)
    layer("conv_body", passes=False)  # added to what came in, which is all that is handed on
    for name in ("conv_up1", "conv_up2", "conv_hr", "conv_last"):
        layer(name)
    return weights
