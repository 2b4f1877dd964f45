"""Quantised weights: close to what they replace, in less memory, under the same name, with unmerged adapters."""

import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import write_chameleon, write_lumina
from toy import FAMILY, quantized_toy, toy_lora, toy_model, toy_subject

from ar_core import ARModel, TrainingSettings, cli, personalize
from ar_core.adapters import DeltaAdapter, attach_adapter, merge_adapters
from ar_core.architecture import TransformerConfig
from ar_core.memory import quantized_bytes, weight_bytes
from ar_core.model import MINIATURE_FOLDER
from ar_core.personalization import Personalization, PersonalizationError
from ar_core.quantization import SCHEMES, QuantizationError, QuantizedLinear, nf4, quantize
from ar_core.sampling import SamplingSettings
from ar_core.transformer import Transformer

SETTINGS = SamplingSettings.resolve(FAMILY, seed=3)
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def as_floats(transformer):
    """The same transformer with the weights that its own stand for, in torch's own layers."""
    plain, values = Transformer(transformer.config), dict(transformer.named_parameters())
    for name, module in transformer.named_modules():
        if isinstance(module, QuantizedLinear):
            values.pop(f"{name}.{module.scale_name}")
            values[f"{name}.weight"] = module(torch.eye(module.in_features)).T
    plain.load_state_dict(values)
    return plain.requires_grad_(False)


@every_scheme
def test_a_quantised_transformer_computes_with_its_rounded_weights(scheme):
    model = quantized_toy(scheme)
    x, plain = torch.randn(1, 5, 16), as_floats(model.transformer)
    torch.testing.assert_close(model.transformer(x), plain(x), atol=1e-4, rtol=1e-4)
    assert (
        not isinstance(model.transformer.image_head, QuantizedLinear)
        and model.transformer.image_head.weight.dtype == torch.float32
    )


@pytest.mark.parametrize("write", [write_lumina, lambda folder: write_lumina(folder, shards=3), write_chameleon])
@every_scheme
def test_every_layout_loads_under_the_same_fingerprint(write, scheme, tmp_path):
    folder = write(tmp_path / "model")
    plain, small = ARModel.load(folder), ARModel.load(folder, quantized=scheme)
    assert small.fingerprint == plain.fingerprint and small.transformer.precision == f"{scheme} and bfloat16"
    expected = quantize(ARModel.load(folder, dtype=torch.bfloat16).transformer, scheme).state_dict()
    got = small.transformer.state_dict()
    assert got.keys() == expected.keys() and all(torch.equal(got[key], expected[key]) for key in got)
    assert not any(p.is_meta or p.requires_grad for p in small.transformer.parameters())


@every_scheme
def test_a_defect_is_found_all_the_same(scheme, tmp_path):
    if scheme == "4-bit":
        pytest.importorskip("bitsandbytes")
    folder = write_lumina(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks model.layers.1.mlp.up_proj.weight"):
        ARModel.load(folder, quantized=scheme)


@pytest.mark.parametrize("scheme, least", [("int8", 0.52), ("4-bit", 0.31)])
def test_the_7b_shrinks_as_announced(scheme, least):
    full = Transformer(TransformerConfig(), device="meta", dtype=torch.bfloat16)
    before, announced = weight_bytes(full), quantized_bytes(full, scheme)
    after = weight_bytes(quantize(full, scheme))
    assert after == pytest.approx(announced, rel=1e-3) and least < after / before < least + 0.02


@every_scheme
def test_lora_beside_the_weights_is_lora_merged_into_what_they_stand_for(scheme):
    model = quantized_toy(scheme)
    known = model.personalized(toy_lora(model), 0.7)
    assert known.transformer is model.transformer  # nothing was copied, nothing is hooked yet
    x, plain = torch.randn(1, 5, 16), as_floats(model.transformer)
    with known.personalizing():
        beside = known.transformer(x)
    torch.testing.assert_close(beside, merge_adapters(plain, [(toy_lora(model).adapter, 0.7)])(x), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.transformer(x), beside, atol=1e-3)


@every_scheme
def test_two_subjects_and_strength_zero(scheme):
    model = quantized_toy(scheme)
    first, second = toy_lora(model, 1), toy_lora(model, 2)
    both = model.personalized(first).personalized(second, 0.5, name="W")
    x = torch.randn(1, 5, 16)
    expected = merge_adapters(as_floats(model.transformer), [(first.adapter, 1.0), (second.adapter, 0.5)])(x)
    with both.personalizing():
        torch.testing.assert_close(both.transformer(x), expected, atol=1e-4, rtol=1e-4)
    draw = lambda m, prompt: m.generate([prompt], SETTINGS)[0].codes  # noqa: E731
    assert torch.equal(draw(model.personalized(first, 0.0), "a photo of [V] dog"), draw(model, "a photo of dog"))
    assert not torch.equal(draw(model.personalized(first), "a photo of [V] dog"), draw(model, "a photo of dog"))
    assert torch.equal(
        draw(model, "a photo of dog"), draw(quantized_toy(scheme), "a photo of dog")
    )  # no hook was left behind


@every_scheme
def test_a_full_change_is_refused(scheme, tmp_path):
    model = quantized_toy(scheme)
    full = Personalization(
        "[V]", "dog", torch.randn(1, 16), DeltaAdapter.fresh(model.transformer), model.fingerprint, {}
    )
    with pytest.raises(
        PersonalizationError, match=f"{scheme} weights cannot take.*another precision, or train .* LoRA"
    ):
        model.personalized(full)
    settings = TrainingSettings.resolve(FAMILY, method="full")
    with pytest.raises(
        PersonalizationError, match=f"holds them in {scheme}.*another precision, or choose the method LoRA"
    ):
        personalize(model, toy_subject(), settings, tmp_path)


@every_scheme
def test_both_stages_learn_and_are_remembered_apart(scheme, tmp_path):
    settings = TrainingSettings.resolve(FAMILY, embedding_steps=2, layer_steps=30, rank=2, layer_learning_rate=0.02)
    learned = personalize(quantized_toy(scheme), toy_subject(), settings, tmp_path)[-1]
    assert sum(learned.losses[-5:]) < 0.95 * sum(learned.losses[:5])
    assert any(up.any() for up in learned.personalization.adapter.up)
    plain = personalize(toy_model(), toy_subject(), replace(settings, layer_steps=1), tmp_path)[-1]
    assert plain.note == "trained" and plain.run != learned.run
    toy_model().personalized(learned.personalization)  # learned on small weights, used on float32


@pytest.mark.parametrize("scheme, apart", [("int8", 0.02), ("4-bit", 0.2)])
def test_the_miniature_stays_close(scheme, apart):
    plain, small = (ARModel.load("miniature", dtype=torch.float32, quantized=quantized) for quantized in (None, scheme))
    ids = plain.protocol.prompt("a photo of a red mug on the beach", plain.family.recipe.size)
    x = plain.transformer.embed(torch.tensor([ids]))
    with torch.inference_mode():
        expected, got = (m.transformer.image_logits(m.transformer(x)) for m in (plain, small))
    assert 0 < (got - expected).std() < apart * expected.std()
    assert weight_bytes(small.transformer) == pytest.approx(quantized_bytes(plain.transformer, scheme), rel=0.02)


@every_scheme
def test_the_command_line_takes_a_precision(scheme, capsys):
    if scheme == "4-bit":
        pytest.importorskip("bitsandbytes")  # the command line says so in a sentence, which is tested below
    assert cli.main(["info", "--precision", scheme]) == 0
    out = capsys.readouterr().out
    assert f"{scheme} and bfloat16" in out and "MiB of weights" in out
    assert cli.main(["info", "--model", str(MINIATURE_FOLDER)]) == 0
    assert "float32" in capsys.readouterr().out


@every_scheme
def test_every_part_of_a_lora_learns(scheme):
    model = quantized_toy(scheme)
    adapter = toy_lora(model).adapter
    x = torch.randn(1, 5, 16)
    with attach_adapter(model.transformer, adapter):
        model.transformer(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in adapter.parameters())


def test_without_its_package_a_precision_is_refused_with_a_sentence(monkeypatch, tmp_path):
    nf4.bitsandbytes.cache_clear()
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        QuantizationError, match=r"4-bit needs the package bitsandbytes.*pip install bitsandbytes.*or choose int8"
    ):
        ARModel.load("miniature", quantized="4-bit")
