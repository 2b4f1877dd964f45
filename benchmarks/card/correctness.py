"""Does the card compute what a CPU computes? On the miniature that ships, precision by precision."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_core.adapters import LowRankAdapter, attach_adapter
from ar_core.model import PRECISIONS, ARModel
from ar_core.photos import read_photos
from ar_core.quantization import QuantizationError
from ar_core.sampling import SamplingSettings
from ar_core.sampling.rule import code_probabilities, draw_code
from ar_core.shipped import example_subjects
from ar_core.training import TrainingSettings, personalize, prepare_subject
from ar_core.training.examples import Batch, make_training_batch
from ar_core.training.loss import image_code_loss

from ..common.machine import default_device
from .random_model import is_rehearsal
from .rows import row

PROMPTS = ("a photo of a red striped mug on a wooden floor", "a photo of a blue dog on the beach")
DRAWS = 200_000
STEPS = 4  # of each stage
RANK = 8


def run() -> None:
    device = default_device()
    cpu = ARModel.load("miniature", "cpu", torch.float32)
    settings = SamplingSettings.resolve(cpu.family, seed=5, window=1)
    codes = draw(cpu, replace(settings, window=64))
    batch = pairs(cpu, codes)
    logits = forced_logits(cpu, batch)
    gradient = gradients(cpu, batch)
    precisions = ["fp32", "bf16", "fp16", "int8", "int8-rotated", "4-bit"]
    windows = [1, 16, 64]
    if is_rehearsal():
        precisions = ["bf16", "int8"]
        windows = [64]
    models = dict(loaded(precisions, device))
    for name, model in models.items():
        there = forced_logits(model, batch)
        row(
            precision=name,
            logits_differ_by_sd=float((there - logits).abs().max() / logits.std()),
            same_top_code=float((there.argmax(-1) == logits.argmax(-1)).float().mean()),
            gradient_cosine=float(F.cosine_similarity(gradients(model, batch), gradient, dim=0)),
            pixels_differ_by=float((model.decode(codes[:1]) - cpu.decode(codes[:1])).abs().max()),
        )
    row(chi_squared_of_draws=chi_squared(device), expected="39 +- 9")
    train(cpu, ARModel.load("miniature", device, torch.float32))
    on_cpu = {window: draw(cpu, replace(settings, window=window)) for window in windows}
    for name, model in models.items():
        for window in windows:
            drawn = [draw(model, replace(settings, window=window)) for _ in range(2)]
            row(
                precision=name,
                window=window,
                same_seed_same_picture=torch.equal(*drawn),
                codes_as_on_the_cpu=float((drawn[0] == on_cpu[window]).float().mean()),
            )


def loaded(precisions: Iterable[str], device: torch.device) -> Iterator[tuple[str, ARModel]]:
    """The miniature in each of these precisions; a row for each that this machine lacks."""
    for name in precisions:
        precision = PRECISIONS[name]
        try:
            yield name, ARModel.load("miniature", device, precision.dtype, quantized=precision.quantized)
        except QuantizationError as error:
            row(precision=name, missing=str(error))


def draw(model: ARModel, settings: SamplingSettings) -> Tensor:
    return torch.cat([image.codes for image in model.generate(PROMPTS, settings)])


def pairs(model: ARModel, codes: Tensor) -> Batch:
    """The prompts with their pictures."""
    size = model.family.recipe.size
    ids = [model.protocol.prompt(prompt, size) for prompt in PROMPTS]
    return make_training_batch(list(zip(ids, codes, strict=True)), model.protocol, size)


@torch.inference_mode()
def forced_logits(model: ARModel, batch: Batch) -> Tensor:
    """Logits at every place of a code, on the CPU."""
    ids = batch.ids.to(model.device)
    hidden = model.transformer(model.transformer.embed(ids))
    return model.transformer.image_logits(hidden).cpu()[batch.targets >= 0]


def gradients(model: ARModel, batch: Batch) -> Tensor:
    """Of a LoRA's second matrices, all in one row on the CPU."""
    adapter = LowRankAdapter.fresh(model.transformer, RANK, 0)
    with attach_adapter(model.transformer, adapter):
        image_code_loss(model.transformer, batch, None).backward()
    return torch.cat([b.grad.flatten() for b in adapter.up if b.grad is not None]).float().cpu()


def chi_squared(device: torch.device) -> float:
    """How far the frequencies of many draws on the card are from the distribution, with 39 degrees of freedom."""
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)).to(device)
    p = code_probabilities(logits, 40, 1.0)
    numbers = torch.rand(DRAWS, generator=torch.Generator().manual_seed(2)).to(device)
    counts = draw_code(p.expand(DRAWS, -1), numbers).bincount(minlength=40).double().cpu()
    expected = p.double().cpu() * DRAWS
    return float(((counts - expected) ** 2 / expected).sum())


def train(cpu: ARModel, card: ARModel) -> None:
    """A few steps of both stages on either."""
    photos, _ = read_photos(example_subjects() / "lilac_dog")
    losses = []
    for model in (cpu, card):
        settings = TrainingSettings.resolve(model.family, embedding_steps=STEPS, layer_steps=STEPS)
        with tempfile.TemporaryDirectory() as runs:
            subject = prepare_subject(model, photos, "dog", runs=Path(runs))
            results = personalize(model, subject, settings, Path(runs))
        losses.append([loss for result in results for loss in result.losses])
    row(
        trained_steps=2 * STEPS,
        losses_differ_by=max(abs(a - b) for a, b in zip(*losses, strict=True)),
        last_loss_cpu=losses[0][-1],
        last_loss_card=losses[1][-1],
    )
