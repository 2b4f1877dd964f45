"""int8 weights: close to what they replace, half the memory, the same name, and personalizations beside them."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import write_chameleon, write_lumina
from torch.nn import functional as F
from toy import FAMILY, toy_model, toy_subject

from ar_core import LuminaModel, TrainingSettings, cli, personalize
from ar_core.adapters import DeltaAdapter, LowRankAdapter, attached, merged
from ar_core.memory import weight_bytes
from ar_core.model import MINIATURE_FOLDER
from ar_core.personalization import Personalization, PersonalizationError
from ar_core.quantization import BLOCK, Int8, int8_class, quantize
from ar_core.sampling import SamplingSettings
from ar_core.transformer import Transformer, TransformerConfig

SETTINGS = SamplingSettings.resolve(FAMILY, seed=3)


def int8_toy(seed=0) -> LuminaModel:
    model = toy_model(seed)
    return replace(model, transformer=quantize(model.transformer))


def as_floats(transformer):
    """The same transformer with the weights that int8 stands for, in torch's own layers."""
    plain = Transformer(transformer.config)
    values = {name: p for name, p in transformer.named_parameters() if not name.endswith(".scale")}
    for name, scale in transformer.named_parameters():
        if name.endswith(".scale"):
            weight = name.removesuffix("scale") + "weight"
            values[weight] = values[weight].float() * scale[:, None].float()
    plain.load_state_dict(values)
    return plain.requires_grad_(False)


def linear(out, inputs, dtype, seed=0):
    torch.manual_seed(seed)
    layer = int8_class(torch.nn.Linear)(inputs, out, bias=False, device="meta")
    weight = (torch.randn(out, inputs) * torch.rand(out, 1)).to(dtype)
    layer.store(weight)
    return layer, weight


def lora(model, seed=0):
    torch.manual_seed(seed)
    adapter = LowRankAdapter.fresh(model.transformer, 2, seed)
    for up in adapter.up:
        up.data.normal_(std=0.5)
    return Personalization("[V]", "dog", torch.randn(1, 16), adapter, model.fingerprint, {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_weight_is_within_half_a_step(dtype):
    layer, weight = linear(24, 40, dtype)
    weight[3] = 0
    layer.store(weight)
    assert layer.weight.dtype == torch.int8 and layer.scale.dtype == dtype
    step = layer.scale.float()[:, None]
    error = (layer.weight.float() * step - weight.float()).abs()
    assert (error <= 0.5 * step + 0.004 * weight.float().abs().amax(1, keepdim=True)).all()  # + the rounded scale, at the extremes
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
    layer = int8_class(torch.nn.Linear)(512, 1, bias=False, device="meta")
    layer.store(torch.full((1, 512), 0.01, dtype=torch.float16))
    assert abs(layer(torch.full((1, 512), 20.0, dtype=torch.float16)).item() - 102.4) < 0.2  # 512 * 127 * 20 is no float16


def test_gradients_reach_the_input_and_no_copy_of_the_weights_is_kept():
    layer, _ = linear(24, 48, torch.float32)
    x = torch.randn(3, 48, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t):
        out = layer(x)
    assert {t.dtype for t in kept if t.numel() == 24 * 48} == {torch.int8}
    gradient = torch.randn(3, 24)
    out.backward(gradient)
    torch.testing.assert_close(x.grad, gradient @ (layer.weight * layer.scale[:, None]))


def test_a_quantised_transformer_computes_with_its_rounded_weights():
    model = int8_toy()
    x, plain = torch.randn(1, 5, 16), as_floats(model.transformer)
    torch.testing.assert_close(model.transformer(x), plain(x), atol=1e-4, rtol=1e-4)
    assert not isinstance(model.transformer.image_head, Int8) and model.transformer.image_head.weight.dtype == torch.float32


@pytest.mark.parametrize("write", [write_lumina, lambda folder: write_lumina(folder, shards=3), write_chameleon])
def test_every_layout_loads_in_int8_under_the_same_fingerprint(write, tmp_path):
    folder = write(tmp_path / "model")
    plain, small = LuminaModel.load(folder), LuminaModel.load(folder, int8=True)
    assert small.fingerprint == plain.fingerprint and small.transformer.precision == "int8 and bfloat16"
    expected = quantize(LuminaModel.load(folder, dtype=torch.bfloat16).transformer).state_dict()
    got = small.transformer.state_dict()
    assert got.keys() == expected.keys() and all(torch.equal(got[key], expected[key]) for key in got)
    assert not any(p.is_meta or p.requires_grad for p in small.transformer.parameters())


def test_a_defect_is_found_in_int8_too(tmp_path):
    folder = write_lumina(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks model.layers.1.mlp.up_proj.weight"):
        LuminaModel.load(folder, int8=True)


def test_the_7b_in_int8_is_a_little_more_than_half():
    full = Transformer(TransformerConfig(), device="meta", dtype=torch.bfloat16)
    before = weight_bytes(full)
    after = weight_bytes(quantize(full))
    layers = sum(p.numel() for p in full.model.layers.parameters() if p.dtype == torch.int8)
    scales = sum(p.nbytes for name, p in full.named_parameters() if name.endswith(".scale"))
    assert before - after == layers - scales and 0.5 < after / before < 0.55


def test_lora_beside_int8_is_lora_merged_into_the_rounded_weights():
    model = int8_toy()
    known = model.personalized(lora(model), 0.7)
    assert known.transformer is model.transformer  # nothing was copied, nothing is hooked yet
    x, plain = torch.randn(1, 5, 16), as_floats(model.transformer)
    with known.personalizing():
        beside = known.transformer(x)
    torch.testing.assert_close(beside, merged(plain, [(lora(model).adapter, 0.7)])(x), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.transformer(x), beside, atol=1e-3)


def test_two_subjects_and_strength_zero_beside_int8():
    model = int8_toy()
    first, second = lora(model, 1), lora(model, 2)
    both = model.personalized(first).personalized(second, 0.5, name="W")
    x = torch.randn(1, 5, 16)
    expected = merged(as_floats(model.transformer), [(first.adapter, 1.0), (second.adapter, 0.5)])(x)
    with both.personalizing():
        torch.testing.assert_close(both.transformer(x), expected, atol=1e-4, rtol=1e-4)
    draw = lambda m, prompt: m.generate([prompt], SETTINGS)[0].codes  # noqa: E731
    assert torch.equal(draw(model.personalized(first, 0.0), "a photo of [V] dog"), draw(model, "a photo of dog"))
    assert not torch.equal(draw(model.personalized(first), "a photo of [V] dog"), draw(model, "a photo of dog"))
    assert torch.equal(draw(model, "a photo of dog"), draw(int8_toy(), "a photo of dog"))  # no hook was left behind


def test_a_full_change_of_int8_weights_is_refused(tmp_path):
    model = int8_toy()
    full = Personalization("[V]", "dog", torch.randn(1, 16), DeltaAdapter.fresh(model.transformer), model.fingerprint, {})
    with pytest.raises(PersonalizationError, match="int8 weights cannot take.*another precision, or train .* LoRA"):
        model.personalized(full)
    settings = TrainingSettings.resolve(FAMILY, method="full")
    with pytest.raises(PersonalizationError, match="holds them in int8.*another precision, or choose the method LoRA"):
        personalize(model, toy_subject(), settings, tmp_path)


def test_both_stages_learn_on_int8_and_are_remembered_apart(tmp_path):
    settings = TrainingSettings.resolve(FAMILY, embedding_steps=2, layer_steps=30, rank=2, layer_learning_rate=0.02)
    learned = personalize(int8_toy(), toy_subject(), settings, tmp_path)[-1]
    assert sum(learned.losses[-5:]) < 0.95 * sum(learned.losses[:5])
    assert any(up.any() for up in learned.personalization.adapter.up)
    plain = personalize(toy_model(), toy_subject(), replace(settings, layer_steps=1), tmp_path)[-1]
    assert plain.note == "trained" and plain.run != learned.run
    toy_model().personalized(learned.personalization)  # learned on int8, used in float32


def test_the_miniature_in_int8_stays_close():
    plain, small = (LuminaModel.load("miniature", dtype=torch.float32, int8=int8) for int8 in (False, True))
    ids = plain.text.prompt_ids("a photo of a red mug on the beach", plain.family.recipe.size)
    x = plain.transformer.embed(torch.tensor([ids]))
    with torch.inference_mode():
        expected, got = (m.transformer.image_logits(m.transformer(x)) for m in (plain, small))
    assert 0 < (got - expected).std() < 0.1 * expected.std()
    assert weight_bytes(small.transformer) < 0.35 * weight_bytes(plain.transformer)


def test_the_command_line_takes_a_precision(capsys):
    assert cli.main(["info", "--precision", "int8"]) == 0
    out = capsys.readouterr().out
    assert "int8 and bfloat16" in out and "MiB of weights" in out
    assert cli.main(["info", "--model", str(MINIATURE_FOLDER)]) == 0
    assert "float32" in capsys.readouterr().out


def test_every_part_of_a_lora_learns_beside_int8():
    model = int8_toy()
    adapter = lora(model).adapter
    x = torch.randn(1, 5, 16)
    with attached(model.transformer, adapter):
        model.transformer(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in adapter.parameters())
