"""Every public layout loads to the same model; every defect is one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import (
    VQ,
    config,
    transformer_weights,
    vq_weights,
    write_chameleon,
    write_lumina,
    write_meta,
    write_transformer,
)

from ar_core import ARModel
from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.checkpoints import fingerprint
from ar_core.checkpoints.errors import CheckpointError
from ar_core.checkpoints.find import Files, find_parts, open_folder
from ar_core.checkpoints.load import load_image_tokenizer, load_transformer
from ar_core.checkpoints.lumina import transformer_config
from ar_core.control import Cancelled
from ar_core.families.lumina_mgpt import LUMINA_512, LUMINA_768
from ar_core.image_tokenizer.vqgan import ImageTokenizer
from ar_core.sampling import SamplingSettings
from ar_core.training import Subject, TrainingSettings, personalize
from benchmarks.random_checkpoint import protocol_of

IDS = torch.tensor([[0, 20, 16390, 8197, 8820, 8820, 7, 9]])


def find(folder) -> Files:
    return find_parts(open_folder(folder), LUMINA_768.sources)


def outputs(model: ARModel) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        logits = model.transformer.image_logits(model.transformer(model.transformer.embed(IDS)))
    return logits, model.decode(torch.arange(6).view(1, 2, 3))


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> ARModel:
    return ARModel.load(write_lumina(tmp_path_factory.mktemp("a")))


def layouts(folder):
    """By name, how to write and load each."""

    def lumina_with_metas_files():
        (folder / "m").mkdir()
        write_transformer(folder / "m", transformer_weights(), torch.bfloat16, 1)
        write_meta(folder / "m" / "chameleon" / "tokenizer")
        return ARModel.load(folder / "m")

    def given():
        (folder / "g").mkdir()
        write_transformer(folder / "g", transformer_weights(), torch.bfloat16, 1)
        meta = write_meta(folder / "elsewhere")
        return ARModel.load(folder / "g", vq=meta / "vqgan.ckpt", tokenizer=meta / "text_tokenizer.json")

    def encoder_only():
        write_chameleon(folder / "e", decoder=False)
        save_file({f"vqvae.{k}": v for k, v in vq_weights().items()}, folder / "e" / "vqgan.safetensors")
        return ARModel.load(folder / "e")

    def decoder_beside():
        """A half image tokenizer is found first; the whole one further down is taken."""
        write_chameleon(folder / "d", decoder=False)
        save_file(half(vq_weights()), folder / "d" / "vqgan.safetensors")
        write_meta(folder / "d" / "original_tokenizers")
        return ARModel.load(folder / "d")

    def parts_in_the_parent_folder():
        (write_lumina(folder / "p") / "model").mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / "p" / name).rename(folder / "p" / "model" / name)
        return ARModel.load(folder / "p" / "model")

    return {
        "shards": lambda: ARModel.load(write_lumina(folder / "s", shards=3)),
        "float32": lambda: ARModel.load(write_lumina(folder / "f", dtype=torch.float32)),
        "float16": lambda: ARModel.load(write_lumina(folder / "h", dtype=torch.float16)),
        "chameleon": lambda: ARModel.load(write_chameleon(folder / "c")),
        "chameleon without decoder": encoder_only,
        "meta beside": lumina_with_metas_files,
        "meta given": given,
        "decoder in another file": decoder_beside,
        "parts in the parent folder": parts_in_the_parent_folder,
    }


@pytest.mark.parametrize("name", list(layouts(None)))
def test_every_layout_gives_the_same_model(name, tmp_path, complete):
    model = layouts(tmp_path)[name]()
    assert model.family is LUMINA_768
    assert model.fingerprint == complete.fingerprint
    assert model.image_tokenizer.config == VQ
    for got, expected in zip(outputs(model), outputs(complete), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_the_fingerprint_names_the_weights_not_their_type(tmp_path, complete):
    folder = write_lumina(tmp_path / "x")
    for dtype in (torch.bfloat16, torch.float16):
        assert ARModel.load(folder, dtype=dtype).fingerprint == complete.fingerprint
    assert ARModel.load(write_lumina(tmp_path / "y", seed=1)).fingerprint != complete.fingerprint


@pytest.mark.parametrize("quantized", [None, "int8"])
def test_reading_reports_and_stops(tmp_path, quantized):
    folder, seen = write_lumina(tmp_path / "model", shards=2), []
    model = ARModel.load(folder, quantized=quantized, progress=lambda *step: seen.append(step))
    count = len([name for name, _ in model.transformer.named_parameters() if not name.endswith(".scale")])
    assert seen == [(done, count, "reading weights") for done in range(1, count + 1)]
    with pytest.raises(Cancelled):
        ARModel.load(folder, quantized=quantized, cancel=lambda: len(seen) == count)


def test_a_small_model_on_a_cpu_is_float32_and_a_large_one_bfloat16(tmp_path, monkeypatch):
    folder = write_lumina(tmp_path / "model")
    assert ARModel.load(folder).transformer.precision == "float32"
    monkeypatch.setattr("ar_core.model.SMALL_BYTES", open_folder(folder).size)
    assert ARModel.load(folder).transformer.precision == "bfloat16"


def test_fingerprints_are_those_that_saved_subjects_hold(complete):
    """Constants of the first version: another digest would make every saved subject one of "another base model"."""
    assert ARModel.load("miniature").fingerprint == "3c91b408ae6510a5"
    assert complete.fingerprint == "47287ba408da9f2e"


@dataclass(frozen=True)
class LaterConfig(TransformerConfig):
    """With a field that a later version adds."""

    head_layers: int = 1


def test_a_field_that_is_added_later_enters_a_fingerprint_only_where_it_differs(monkeypatch):
    dimensions = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    name = lambda config: fingerprint.Fingerprint(config).text()  # noqa: E731
    before = name(TransformerConfig(**dimensions))
    assert before == "74ea89327eca2a0c"
    monkeypatch.setattr(fingerprint, "LATER_FIELDS", {"head_layers": 1})
    assert name(LaterConfig(**dimensions)) == before
    assert name(LaterConfig(**dimensions, head_layers=2)) != before


def test_every_dimension_is_listed_for_the_fingerprint():
    listed = (*fingerprint.FIELDS, *fingerprint.LATER_FIELDS, *fingerprint.LEFT_OUT)
    assert sorted(listed) == sorted(field.name for field in fields(TransformerConfig))
    assert all(hasattr(TransformerConfig(), name) for name in fingerprint.LATER_FIELDS)


def test_a_float32_file_has_one_fingerprint_in_every_type(tmp_path, complete):
    """Its values are rounded on loading in bfloat16, as the fingerprint rounds them."""
    changed(tmp_path / "model", lambda t: t.update({k: v.float() * 1.003 for k, v in t.items()}))
    names = {ARModel.load(tmp_path / "model", dtype=dtype).fingerprint for dtype in (torch.float32, torch.bfloat16)}
    assert len(names) == 1 and names != {complete.fingerprint}


def test_the_files_tell_the_family_and_the_folders_name_says_nothing(tmp_path, caplog):
    folder = write_lumina(tmp_path / "Lumina-mGPT-7B-512")
    with caplog.at_level("INFO", logger="ar_core"):
        model = ARModel.load(folder)
    assert model.family is LUMINA_768 and "choose the family lumina-mgpt-512" in model.notes[0]
    assert f"{folder} holds Lumina-mGPT 7B, 768 px (recognised by its files)" in caplog.text
    assert model.notes[0] in caplog.text and str(folder / "model.safetensors") in caplog.text
    assert f"Fingerprint {model.fingerprint}, held in float32 on cpu" in caplog.text
    asked = ARModel.load(folder, family="lumina-mgpt-512")
    assert asked.family is LUMINA_512 and not asked.notes and asked.fingerprint == model.fingerprint
    set_config(folder, family="lumina-mgpt-512")
    named = ARModel.load(folder)
    assert named.family is LUMINA_512 and not named.notes


def hub_snapshot(root, folder):
    """The hub's cache: files called like their hashes, and a snapshot of links to them under a hash, too."""
    cache = root / "models--Alpha-VLLM--Lumina-mGPT-7B-768"
    snapshot = cache / "snapshots" / "5120a51251200512aaaa0512"
    (cache / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        blob = cache / "blobs" / f"512{number:037x}"
        file.rename(blob)
        (snapshot / file.name).symlink_to(blob)
    return snapshot


@pytest.mark.parametrize("place", ["hub", "linked", "renamed"])
def test_the_family_is_read_from_files_wherever_they_lie(place, tmp_path, caplog):
    """A hub's hash with "512" in it once loaded as the model for 512 px."""
    folder = write_lumina(tmp_path / "model")
    set_config(folder, family="lumina-mgpt-1024")
    if place == "hub":
        folder = hub_snapshot(tmp_path / "hub", folder)
    elif place == "linked":
        (tmp_path / "my 512 model").symlink_to(folder, target_is_directory=True)
        folder = tmp_path / "my 512 model"
    else:
        folder = folder.rename(tmp_path / "Lumina-mGPT-7B-768")
    with caplog.at_level("INFO", logger="ar_core"):
        model = ARModel.load(folder)
    assert model.family.name == "lumina-mgpt-1024"
    assert f"{folder} holds Lumina-mGPT 7B, 1024 px (named in config.json)" in caplog.text
    assert model.image_tokenizer is not None and model.text.source.parent == folder


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    folder = write_lumina(tmp_path / "model")
    set_config(folder, vocab_size=9000)
    with pytest.raises(CheckpointError, match="tokenizer.json has the id .* a vocab_size of 9000.*own tokenizer"):
        ARModel.load(folder)


def test_the_whole_job_on_the_real_protocol(tmp_path):
    """Photos as codes, both stages, a sample: 1060 image tokens of the 7B's own vocabulary."""
    model = ARModel.load(write_lumina(tmp_path / "model"), family="lumina-mgpt-512")
    codes = torch.randint(0, 8192, (2, 16, 64), generator=torch.Generator().manual_seed(0))
    subject = Subject("dog", (1024, 256), codes, (0, 1), "pixels")
    settings = TrainingSettings.resolve(model.family, embedding_steps=2, layer_steps=2, rank=2, batch_size=2)
    learned = personalize(model, subject, settings, tmp_path / "runs")[-1].personalization
    sampling = SamplingSettings.resolve(model.family, size=(1000, 250), seed=1)
    image = model.personalized(learned).generate("a photo of [V] on the beach", sampling)[0]
    assert sampling.size == (1024, 256) and image.images.shape == (1, 256, 1024, 3)
    assert image.prompt == "a photo of [V] dog on the beach" and image.codes.max() > 1024


def test_a_loaded_model_is_frozen_and_in_evaluation_mode(complete):
    for module in (complete.transformer, complete.image_tokenizer):
        assert not module.training and not any(p.requires_grad or p.is_meta for p in module.parameters())


def test_types_and_operations_are_passed_on(tmp_path):
    operations = type(
        "Operations", (), {n: type(n, (getattr(torch.nn, n),), {}) for n in ("Linear", "Embedding", "RMSNorm")}
    )
    changed(tmp_path / "model", lambda t: t.update({k: v.half() for k, v in t.items()}), "vqgan.safetensors")
    files = find(tmp_path / "model")
    model, _ = load_transformer(files, LUMINA_768, protocol_of(LUMINA_768), operations=operations, dtype=torch.float16)
    assert isinstance(model.image_head, operations.Linear)
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert {p.dtype for p in load_image_tokenizer(files).parameters()} == {torch.float32}


def test_only_the_heads_image_rows_are_read(tmp_path, complete):
    def spoil(tensors):
        tensors["lm_head.weight"][:4], tensors["lm_head.weight"][8196:] = float("nan"), float("nan")

    changed(tmp_path / "model", spoil)
    model = ARModel.load(tmp_path / "model")
    assert torch.equal(model.transformer.image_head.weight, complete.transformer.image_head.weight)


def test_tied_embeddings_give_the_head(tmp_path):
    changed(tmp_path / "model", lambda t: t.pop("lm_head.weight"))
    set_config(tmp_path / "model", tie_word_embeddings=True)
    transformer = ARModel.load(tmp_path / "model", dtype=torch.bfloat16).transformer
    table = transformer.model.embed_tokens.weight
    assert torch.equal(transformer.image_head.weight, table[4:8196])
    transformer.image_head.weight.zero_()
    assert table[4:8196].any()


@pytest.mark.parametrize(
    "values, theta",
    [
        ({"rope_theta": 500.0}, 500.0),
        ({"rope_theta": None, "rope_parameters": {"rope_theta": 600, "rope_type": "default"}}, 600.0),
    ],
)
def test_the_rotary_base_is_read_as_either_transformers_writes_it(tmp_path, values, theta):
    rewritten_config(tmp_path / "model", **values, num_key_value_heads=None)
    read = transformer_config(find(tmp_path / "model"), LUMINA_768, protocol_of(LUMINA_768))
    assert read.rope_theta == theta and read.num_key_value_heads == read.num_attention_heads


@pytest.mark.parametrize("vq_config", [{}, {"vq_config": {"norm_groups": 2}}])
def test_dimensions_of_the_image_tokenizer_come_from_its_shapes(tmp_path, vq_config):
    expected = ImageTokenizerConfig(
        8, (1, 2, 4), 3, 6, 5, 16, patch=2, norm_groups=vq_config.get("vq_config", {}).get("norm_groups", 8)
    )
    rewritten_config(tmp_path / "model", **vq_config)
    save_file(ImageTokenizer(expected).state_dict(), tmp_path / "model" / "vqgan.safetensors")
    assert load_image_tokenizer(find(tmp_path / "model")).config == expected


# ---------------------------------------------------------------- defects


def changed(folder, change, name="model.safetensors"):
    """A complete folder, one file's tensors of which went through `change`."""
    write_lumina(folder)
    tensors = {k: v.clone() for k, v in load_file(folder / name).items()}  # the file itself is written anew
    change(tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / name)


def set_config(folder, **values):
    (folder / "config.json").write_text(json.dumps({**config(), **values}))


def rewritten_config(folder, **values):
    write_lumina(folder)
    set_config(folder, **values)


def half(tensors):
    """An image tokenizer's tensors without its decoder."""
    return {k: v for k, v in tensors.items() if not k.startswith(("decoder.", "post_quant_conv."))}


def entry(value, key="model.layers.1.mlp.up_proj.weight"):
    """A change that sets one number."""
    return lambda tensors: tensors[key][3].fill_(value)


def half_beside(folder):
    write_lumina(folder)
    save_file(half(vq_weights()), folder / "vqgan.safetensors")


def twice(folder):
    write_lumina(folder, shards=2)
    tensors = load_file(folder / "model-00001-of-00002.safetensors")
    save_file(
        {**load_file(folder / "model-00002-of-00002.safetensors"), **tensors},
        folder / "model-00002-of-00002.safetensors",
    )


def meta_truncated(folder):
    write_meta(folder)
    truncated(folder, "vqgan.ckpt")
    (folder / "vqgan.safetensors").unlink()


def another_pickle(folder):
    write_lumina(folder)
    (folder / "vqgan.safetensors").unlink()
    torch.save(dict(vq_weights()), folder / "vqgan.ckpt")


def truncated(folder, name):
    write_lumina(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def without(name):
    return lambda folder: (write_lumina(folder), (folder / name).unlink())


def sharded_without_one(folder):
    write_lumina(folder, shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()


def undecodable(folder):
    write_chameleon(folder, decoder=False)


def executable_pickle(folder):
    write_lumina(folder)
    (folder / "vqgan.safetensors").unlink()
    torch.save({"state_dict": {"quantize.embedding.weight": print}}, folder / "vqgan.ckpt")


DEFECTS = {
    "no config": (without("config.json"), "config.json is missing"),
    "broken config": (lambda f: (write_lumina(f), (f / "config.json").write_text("{")), "config.json cannot be read"),
    "no weights": (without("model.safetensors"), r"model.safetensors is missing .* into .*model"),
    "no image tokenizer": (without("vqgan.safetensors"), r"image tokenizer is missing: put vqgan.ckpt .* into .*model"),
    "no text tokenizer": (without("tokenizer.json"), r"text tokenizer is missing: put tokenizer.json .* into .*model"),
    "broken text tokenizer": (
        lambda f: (write_lumina(f), (f / "tokenizer.json").write_text("{}")),
        "tokenizer.json is not a readable tokenizer",
    ),
    "no decoder anywhere": (undecodable, "image tokenizer is missing"),
    "missing shard": (sharded_without_one, "model-00002-of-00002.safetensors is missing"),
    "truncated": (lambda f: truncated(f, "model.safetensors"), "model.safetensors is damaged"),
    "truncated image tokenizer": (lambda f: truncated(f, "vqgan.safetensors"), "vqgan.safetensors is damaged"),
    "missing key": (
        lambda f: changed(f, lambda t: t.pop("model.layers.1.self_attn.q_norm.bias")),
        r"lacks model.layers.1.self_attn.q_norm.bias \(1 tensors in all\)",
    ),
    "missing head": (lambda f: changed(f, lambda t: t.pop("lm_head.weight")), "lacks lm_head.weight"),
    "missing first layer": (
        lambda f: changed(f, lambda t: t.pop("model.layers.0.self_attn.q_norm.weight")),
        "is in none of the files",
    ),
    "unexpected key": (
        lambda f: changed(f, lambda t: t.update({"model.extra.weight": torch.zeros(1)})),
        "holds model.extra.weight",
    ),
    "wrong shape": (
        lambda f: changed(f, lambda t: t.update({"model.norm.weight": torch.zeros(33)})),
        r"model.norm.weight .*\(33,\), expected \(32,\)",
    ),
    "not a number": (
        lambda f: changed(f, entry(float("nan"))),
        "model.layers.1.mlp.up_proj.weight that is not a finite number",
    ),
    "infinite": (
        lambda f: changed(f, entry(float("-inf"))),
        "model.layers.1.mlp.up_proj.weight that is not a finite number",
    ),
    "key twice": (twice, "holds .* which this model does not have or another file holds too"),
    "attention bias in the file": (
        lambda f: changed(f, lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(32)})),
        "holds model.layers.0.self_attn.q_proj.bias",
    ),
    "shortened head": (
        lambda f: changed(f, lambda t: t.update({"lm_head.weight": t["lm_head.weight"][:9000]})),
        r"lm_head.weight .*\(9000, 32\), expected \(65536, 32\)",
    ),
    "shapeless norm": (
        lambda f: changed(f, lambda t: t.update({"model.layers.0.self_attn.q_norm.weight": torch.ones(8)})),
        "model.layers.0.self_attn.* has the shape",
    ),
    "another architecture": (lambda f: rewritten_config(f, model_type="llama"), 'a "llama" model'),
    "swin norm": (lambda f: rewritten_config(f, swin_norm=True), "sets swin_norm"),
    "attention bias": (lambda f: rewritten_config(f, attention_bias=True), "sets attention_bias"),
    "another activation": (lambda f: rewritten_config(f, hidden_act="gelu"), "sets hidden_act to gelu"),
    "scaled positions": (
        lambda f: rewritten_config(f, rope_scaling={"type": "linear", "factor": 2.0}),
        "sets rope_scaling",
    ),
    "scaled positions in transformers 5": (
        lambda f: rewritten_config(f, rope_parameters={"rope_type": "yarn"}),
        "sets rope_type to yarn",
    ),
    "another vocabulary": (lambda f: rewritten_config(f, vocab_size=65000), r"\(65536, 32\), expected \(65000, 32\)"),
    "a vocabulary without image codes": (
        lambda f: rewritten_config(f, vocab_size=8000),
        "vocab_size of 8000, but image codes lie at 4 to 8195",
    ),
    "no JSON object": (lambda f: (write_lumina(f), (f / "config.json").write_text("[]")), "config.json cannot be read"),
    "broken index": (
        lambda f: (write_lumina(f, shards=2), (f / "model.safetensors.index.json").write_text("[]")),
        "index.json cannot be read",
    ),
    "half an image tokenizer": (half_beside, r"vqgan.safetensors has no decoder: put vqgan.ckpt .* into .*model"),
    "image tokenizer's missing key": (
        lambda f: changed(f, lambda t: t.pop("encoder.mid.block_1.conv1.weight"), "vqgan.safetensors"),
        "vqgan.safetensors lacks encoder.mid.block_1.conv1.weight",
    ),
    "image tokenizer's missing level": (
        lambda f: changed(f, lambda t: t.pop("encoder.down.1.block.0.conv2.weight"), "vqgan.safetensors"),
        "does not hold a whole image tokenizer .*encoder.down.1.block.0.conv2.weight",
    ),
    "image tokenizer's unexpected key": (
        lambda f: changed(f, lambda t: t.update({"encoder.extra": torch.zeros(1)}), "vqgan.safetensors"),
        "vqgan.safetensors holds encoder.extra",
    ),
    "image tokenizer's infinity": (
        lambda f: changed(f, entry(float("inf"), "decoder.conv_in.weight"), "vqgan.safetensors"),
        "decoder.conv_in.weight that is not a finite number",
    ),
    "another file as image tokenizer": (
        lambda f: (write_lumina(f), save_file({"decoder.conv_in.weight": torch.zeros(1)}, f / "vqgan.safetensors")),
        "holds no image tokenizer",
    ),
    "truncated pickle": (meta_truncated, "vqgan.ckpt is damaged or holds more than tensors"),
    "another pickle": (another_pickle, 'vqgan.ckpt has no "state_dict"'),
    "missing dimension": (lambda f: rewritten_config(f, hidden_size=None), "no usable number hidden_size"),
    "a dimension of zero": (
        lambda f: rewritten_config(f, num_attention_heads=0),
        "no usable number num_attention_heads",
    ),
    "another width": (lambda f: rewritten_config(f, intermediate_size=64), r"expected \(32, 64\)"),
    "a pickle with code": (executable_pickle, "vqgan.ckpt is damaged or holds more than tensors"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_is_one_sentence(name, tmp_path):
    write, sentence = DEFECTS[name]
    write(tmp_path / "model")
    with pytest.raises(ValueError, match=sentence) as caught:
        ARModel.load(tmp_path / "model")
    assert isinstance(caught.value, CheckpointError)
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(CheckpointError, match="no model folder .*absent"):
        ARModel.load(tmp_path / "absent")


@pytest.mark.parametrize("part", ["vq", "tokenizer"])
def test_a_given_file_that_does_not_exist(tmp_path, part):
    with pytest.raises(CheckpointError, match="no file .*absent"):
        ARModel.load(write_lumina(tmp_path / "model"), **{part: tmp_path / "absent"})


def test_a_given_image_tokenizer_without_encoder(tmp_path):
    save_file({k: v for k, v in vq_weights().items() if not k.startswith("encoder.")}, tmp_path / "vq.safetensors")
    with pytest.raises(CheckpointError, match="vq.safetensors has no encoder: put"):
        ARModel.load(write_lumina(tmp_path / "model"), vq=tmp_path / "vq.safetensors")


def test_weights_too_large_for_the_wanted_type(tmp_path):
    changed(tmp_path / "model", entry(1e6))
    assert ARModel.load(tmp_path / "model")
    with pytest.raises(CheckpointError, match="not a finite number as torch.float16"):
        ARModel.load(tmp_path / "model", dtype=torch.float16)


def test_derived_values_in_a_file_are_ignored(tmp_path, complete):
    changed(tmp_path / "model", lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}))
    assert ARModel.load(tmp_path / "model").fingerprint == complete.fingerprint


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.uint32, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused(dtype, tmp_path):
    folder = write_lumina(tmp_path / "model")
    try:
        change(folder, "model.norm.weight", lambda value: value.to(torch.int64).to(dtype))
    except KeyError:
        pytest.skip(f"this version of safetensors writes no {dtype}")
    with pytest.raises(CheckpointError, match=rf"holds model\.norm\.weight as {dtype}; weights are floating-point"):
        ARModel.load(folder)


def test_weights_of_eight_bits_are_read(tmp_path):
    folder = write_lumina(tmp_path / "model")
    change(folder, "model.layers.0.mlp.up_proj.weight", lambda value: value.to(torch.float8_e4m3fn))
    ARModel.load(folder)


def change(folder, name, how):
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = how(tensors[name])
    save_file(tensors, folder / "model.safetensors")
