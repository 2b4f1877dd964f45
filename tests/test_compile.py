"""Steps through torch.compile: traced whole, without falling back to Python in between, and the same codes.

The tracer is torch's own; what it hands on is run as it is, so that no C compiler is needed here.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from toy import FAMILY, quantized_toy, toy_lora, toy_model

from ar_core.sampling import SamplingSettings
from ar_core.sampling.steps import StepOptions, compiled_once

PROMPT = "a photo of [V] dog"
COMPILED = StepOptions(compiled=True)
BOTH = (None, COMPILED)


@pytest.fixture(autouse=True)
def traced(monkeypatch):
    """Counts traces; whatever cannot be traced whole fails."""
    graphs = []

    def backend(module, example):
        graphs.append(module)
        return module.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend, fullgraph=True))
    compiled_once.cache_clear()
    torch._dynamo.reset()
    yield graphs
    compiled_once.cache_clear()
    torch._dynamo.reset()


@pytest.mark.parametrize("window", [1, 4])
def test_the_codes_are_the_same(window, traced):
    model = toy_model()
    model, settings = model.personalized(toy_lora(model)), SamplingSettings.resolve(FAMILY, seed=3, window=window)
    plain, compiled = (model.generate([PROMPT] * 2, settings, options=options)[1].codes for options in BOTH)
    assert torch.equal(plain, compiled) and traced
    before = len(traced)
    again = model.generate([PROMPT] * 2, replace(settings, seed=4), options=COMPILED)[1].codes
    assert len(traced) == before and not torch.equal(again, plain)  # a second picture of the same shape traces nothing


def test_what_is_computed_beside_int8_weights_is_traced_too(traced):
    model = quantized_toy("int8")
    model, settings = model.personalized(toy_lora(model)), SamplingSettings.resolve(FAMILY, seed=3, window=4)
    assert model.unmerged
    plain, compiled = (model.generate(PROMPT, settings, options=options)[0].codes for options in BOTH)
    assert torch.equal(plain, compiled) and traced
