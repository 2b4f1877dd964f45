import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file
from toy import FAMILY, learned, toy_model

from ar_core.adapters import LowRankAdapter, attach_adapter, merge_adapters, target_shapes
from ar_core.files import MACHINE
from ar_core.model import ARModel
from ar_core.personalization import Personalization, PersonalizationError
from ar_core.sampling import SamplingSettings
from ar_core.shipped import learned_subjects

SETTINGS = SamplingSettings.resolve(FAMILY, seed=3)


def codes(model, prompt="a photo of [V] dog"):
    return model.generate([prompt], SETTINGS)[0].codes


@pytest.mark.parametrize("method", ["lora", "full", "embedding"])
def test_a_reloaded_file_gives_the_same_images(tmp_path, method):
    model = toy_model()
    original = learned(model, method)
    reloaded = Personalization.load(original.save(tmp_path / "Dog ü 狗"))
    assert reloaded.recipe == {"steps": 3} and reloaded.class_name == "dog"
    assert torch.equal(codes(model.personalized(original)), codes(model.personalized(reloaded)))
    assert [p.name for p in tmp_path.iterdir()] == ["Dog ü 狗.safetensors"]


@pytest.mark.parametrize("method", ["lora", "full", "embedding"])
def test_bytes_are_those_of_the_file(tmp_path, method):
    model = toy_model()
    original = learned(model, method)
    content = original.to_bytes()
    assert content == original.save(tmp_path / "dog").read_bytes()
    reloaded = Personalization.from_bytes(content)
    assert reloaded.is_in(tmp_path / "dog.safetensors") and reloaded.to_bytes() == content
    assert torch.equal(codes(model.personalized(original)), codes(model.personalized(reloaded)))


def test_bytes_are_checked_as_files_are():
    content = learned(toy_model()).to_bytes()
    flipped = bytearray(content)
    flipped[-1] ^= 1
    other = save({"x": torch.zeros(1)})
    for damaged, said in (
        (b"", "it ends before its header"),
        (content[:-1], "damaged or not a safetensors file"),
        (bytes(flipped), "its values are not those that were written"),
        (other, "not a personalization of this software"),
    ):
        with pytest.raises(PersonalizationError, match=f"^The upload of Ann .*{said}"):
            Personalization.from_bytes(damaged, "The upload of Ann")


@pytest.mark.parametrize("content", ["dog.safetensors", 5, None])
def test_what_is_no_bytes_is_called_so(content):
    with pytest.raises(PersonalizationError, match="^Ann's is given as .*, expected bytes. Give what `to_bytes` gave"):
        Personalization.from_bytes(content, "Ann's")


@pytest.mark.parametrize("matrix", ["lora_A", "lora_B"])
def test_a_lora_that_lost_a_matrix_is_refused(matrix):
    """Its projection would else be left out without a word."""
    whole = learned(toy_model())
    tensors = whole._tensors()
    del tensors[next(name for name in tensors if matrix in name)]
    with pytest.raises(PersonalizationError, match=r"layers.0.self_attn.q_proj it holds A or B alone\). Copy or train"):
        Personalization.from_bytes(save(tensors, whole._metadata()))


def test_a_second_subject_is_offered_a_name_that_is_free():
    model = toy_model().personalized(learned(toy_model()), name="[W]")
    with pytest.raises(PersonalizationError, match=r"both called \[W\].*for example \[V2\]"):
        model.personalized(learned(toy_model()), name="[W]")
    with pytest.raises(PersonalizationError, match=r"both called \[V\].*for example \[W\]"):
        toy_model().personalized(learned(toy_model())).personalized(learned(toy_model()))


def test_a_folder_in_place_of_a_file_is_called_one(tmp_path):
    with pytest.raises(PersonalizationError, match="is a folder. Give the .safetensors file"):
        Personalization.load(tmp_path)
    with pytest.raises(PersonalizationError, match="does not exist. Give the .safetensors file"):
        Personalization.load(tmp_path / "absent.safetensors")


def test_applying_never_changes_the_base():
    model = toy_model()
    before = {k: v.clone() for k, v in model.transformer.state_dict().items()}
    sample = codes(model, "a photo of dog")
    changed = model.personalized(learned(model))
    assert not torch.equal(codes(changed), sample)
    assert all(torch.equal(v, before[k]) for k, v in model.transformer.state_dict().items())
    assert torch.equal(codes(model, "a photo of dog"), sample)


def test_strength_zero_is_the_base_without_the_identifier():
    model = toy_model()
    image = model.personalized(learned(model), 0.0).generate(["a photo of [V] dog"], SETTINGS)[0]
    assert image.prompt == "a photo of dog"
    assert torch.equal(image.codes, codes(model, "a photo of dog"))


def test_strength_scales_the_change_of_the_layers():
    model = toy_model()
    p = learned(model)
    name = p.adapter.names()[0]
    old = model.transformer.get_parameter(f"{name}.weight")
    half = model.personalized(p, 0.5).transformer.get_parameter(f"{name}.weight")
    torch.testing.assert_close(half - old, 0.5 * p.adapter.change(name))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_attached_while_learning_equals_merged_afterwards(method):
    model = toy_model()
    p = learned(model, method)
    x = torch.randn(1, 5, 16)
    with attach_adapter(model.transformer, p.adapter):
        beside = model.transformer(x)
    torch.testing.assert_close(beside, merge_adapters(model.transformer, [(p.adapter, 1.0)])(x), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model.transformer(x), beside, atol=1e-3)


def test_a_merged_copy_shares_what_did_not_change():
    model = toy_model()
    copy = model.personalized(learned(model)).transformer
    assert copy.model.embed_tokens.weight.data_ptr() == model.transformer.model.embed_tokens.weight.data_ptr()


def test_two_subjects_in_one_prompt_need_two_names():
    model = toy_model()
    first, second = learned(model, seed=1, vectors=2), learned(model, seed=2)
    with pytest.raises(PersonalizationError, match=r"both called \[V\].*\[W\]"):
        model.personalized(first).personalized(second)
    both = model.personalized(first).personalized(second, name="W")
    assert [i.ids for i in both.identifiers] == [[1040, 1041], [1042]]
    assert torch.equal(both.concepts.vectors, torch.cat([first.vectors, second.vectors])[None])
    assert both.generate(["[V] and [W]"], SETTINGS)[0].prompt == "[V] dog and [W] dog"
    name = first.adapter.names()[0]
    change = both.transformer.get_parameter(f"{name}.weight") - model.transformer.get_parameter(f"{name}.weight")
    torch.testing.assert_close(change, first.adapter.change(name) + second.adapter.change(name), atol=1e-5, rtol=1e-4)


def test_a_file_for_another_base_is_refused():
    with pytest.raises(PersonalizationError, match="another base model"):
        toy_model(seed=1).personalized(learned(toy_model(seed=0)))


def test_files_that_are_not_personalizations_are_named(tmp_path):
    with pytest.raises(PersonalizationError, match="does not exist"):
        Personalization.load(tmp_path / "absent.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(PersonalizationError, match="broken.safetensors is damaged"):
        Personalization.load(tmp_path / "broken.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(PersonalizationError, match="other.safetensors is not a personalization"):
        Personalization.load(tmp_path / "other.safetensors")


DAMAGE = {
    "no alpha": lambda tensors, metadata: metadata.pop("alpha"),
    "an alpha that is no number": lambda tensors, metadata: metadata.update(alpha="garbage"),
    "no recipe": lambda tensors, metadata: metadata.pop("recipe"),
    "a recipe that is no JSON": lambda tensors, metadata: metadata.update(recipe="{"),
    "a recipe that is a list": lambda tensors, metadata: metadata.update(recipe="[]"),
    "no class": lambda tensors, metadata: metadata.pop("class_name"),
    "an A without its B": lambda tensors, metadata: tensors.pop(next(key for key in tensors if "lora_B" in key)),
    "ranks that differ": lambda tensors, metadata: tensors.update(
        {next(key for key in tensors if "lora_A" in key): torch.zeros(5, 16)}
    ),
    "no vectors": lambda tensors, metadata: tensors.update(identifier=torch.zeros(0, 16)),
    "vectors in a row": lambda tensors, metadata: tensors.update(identifier=torch.zeros(16)),
    "alpha 0": lambda tensors, metadata: metadata.update(alpha="0"),
    "a negative alpha": lambda tensors, metadata: metadata.update(alpha="-8"),
    "an infinite alpha": lambda tensors, metadata: metadata.update(alpha="inf"),
    "no number as alpha": lambda tensors, metadata: metadata.update(alpha="nan"),
    "an infinite B": lambda tensors, metadata: tensors.update(
        {next(key for key in tensors if "lora_B" in key): torch.full((16, 2), torch.inf)}
    ),
    "an A that is no matrix": lambda tensors, metadata: tensors.update(
        {next(key for key in tensors if "lora_A" in key): torch.zeros(2)}
    ),
    "a rank of 0": lambda tensors, metadata: tensors.update(
        {key: torch.zeros(0, 16) if "lora_A" in key else torch.zeros(16, 0) for key in tensors if "lora" in key}
    ),
    "a LoRA without matrices": lambda tensors, metadata: [tensors.pop(key) for key in list(tensors) if "lora" in key],
    "a full change without any": lambda tensors, metadata: metadata.update(method="full"),
    "a recipe nested without end": lambda tensors, metadata: metadata.update(recipe="[" * 100_000),
    "an empty class": lambda tensors, metadata: metadata.update(class_name=" "),
    "no name": lambda tensors, metadata: metadata.update(identifier="a dog"),
    "vectors of whole numbers": lambda tensors, metadata: tensors.update(
        identifier=torch.ones(1, 16, dtype=torch.long)
    ),
    "numbers that are none": lambda tensors, metadata: tensors.update(identifier=torch.full((1, 16), torch.nan)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path, damage):
    path = learned(toy_model()).save(tmp_path / "dog")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key in ("checksum", "header_checksum"):
        metadata.pop(key)  # as somebody else's program writes
    DAMAGE[damage](tensors, metadata)
    save_file(tensors, path, metadata)
    with pytest.raises(
        PersonalizationError, match=r"dog.safetensors is damaged or was changed .*\. Copy or train"
    ) as said:
        Personalization.load(path)
    assert "StopIteration" not in str(said.value)


def test_a_file_that_holds_the_same_subject_is_recognised(tmp_path):
    model = toy_model()
    path = learned(model).save(tmp_path / "dog")
    assert Personalization.load(path).is_in(path) and learned(model).is_in(path)
    assert not learned(model, seed=1).is_in(path) and not learned(model, "full").is_in(path)
    assert not replace(learned(model), class_name="cat").is_in(path)
    path.write_bytes(b"")
    assert not learned(model).is_in(path)


def test_vectors_of_another_width_are_refused_before_anything_is_drawn():
    model = toy_model()
    wide = replace(learned(model), vectors=torch.zeros(1, 17))
    with pytest.raises(PersonalizationError, match="vectors of 17 numbers, this model's have 16"):
        model.personalized(wide)


def test_a_change_of_layers_that_the_model_does_not_have_is_refused_before_anything_is_drawn():
    model = toy_model()
    shapes = target_shapes(model.base)
    for wrong in (
        {"model.layers.77.self_attn.q_proj": (16, 16)},
        {name: (rows, columns + 1) for name, (rows, columns) in shapes.items()},
    ):
        adapter = LowRankAdapter(wrong, 2)
        for parameter in adapter.parameters():
            parameter.data.zero_()
        with pytest.raises(PersonalizationError, match="which this model does not have in that shape"):
            model.personalized(replace(learned(model), adapter=adapter))


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf, 1e30])
def test_a_strength_that_cannot_be_meant_is_refused(strength):
    """It drew a green picture."""
    model = toy_model()
    with pytest.raises(PersonalizationError, match="strength is .*; it must be from -10 to 10"):
        model.personalized(learned(model), strength)


def test_the_file_keeps_to_its_documented_format(tmp_path):
    model = toy_model()
    with safe_open(learned(model).save(tmp_path / "x"), "pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
    assert "identifier" in keys
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in keys
    assert metadata["modelspec.trigger_phrase"] == "[V] dog" and json.loads(metadata["recipe"]) == {"steps": 3}
    assert str(tmp_path) not in str(metadata)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_host_that_changes_the_weights_itself_draws_the_same(method):
    model = toy_model()
    p = learned(model, method)
    named = model.with_identifier(p)
    assert named.transformer is model.transformer and [i.name for i in named.identifiers] == ["[V]"]
    with attach_adapter(model.transformer, p.adapter):
        beside = named.generate(["a photo of [V] dog"], SETTINGS)[0].codes
    assert torch.equal(beside, codes(model.personalized(p)))


def test_shapes_are_known_before_anything_is_changed():
    model = toy_model()
    for method in ("lora", "full"):
        adapter = learned(model, method).adapter
        for name in adapter.names():
            assert (
                adapter.shape(name)
                == tuple(adapter.change(name).shape)
                == tuple(model.transformer.get_parameter(f"{name}.weight").shape)
            )


def test_saving_again_removes_what_a_killed_process_left_when_it_had_just_named_its_file(tmp_path):
    subject = learned(toy_model())
    path, _ = subject.save_beside(tmp_path / "dog")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"dog.safetensors.ar-{MACHINE}-{ended.pid}-01234567.partial"
    left.write_bytes(path.read_bytes())
    assert subject.save_beside(tmp_path / "dog") == (path, False) and not left.exists()


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("alpha", [1e20, 1e30])  # logits that are all the same, and that are no numbers
def test_a_subject_with_which_the_models_numbers_overflow_is_named_in_place_of_noise(alpha, window):
    model = ARModel.load()
    healthy = Personalization.load(learned_subjects() / "lilac_dog.safetensors")
    broken = Personalization.load(learned_subjects() / "lilac_dog.safetensors")
    broken.adapter.alpha = alpha
    both = model.personalized(healthy).personalized(broken, name="[W]")
    settings = SamplingSettings.resolve(model.family, window=window)
    with pytest.raises(PersonalizationError, match=r'With "\[W\] dog" the model gives no numbers to draw from.* 1e\+'):
        both.generate("a photo of [V] and [W]", settings)


def test_a_model_whose_numbers_overflow_draws_no_noise():
    model = toy_model()
    model.base.image_head.weight.data.fill_(torch.inf)
    with pytest.raises(ValueError, match="The model gives no numbers to draw from"):
        codes(model, "a photo of a dog")
