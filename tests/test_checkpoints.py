"""Every public layout loads to the same model; every defect is one sentence."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import VQ, config, vq_weights, weights, write_chameleon, write_lumina, write_meta, write_transformer

from ar_core import LuminaModel
from ar_core.checkpoints import CheckpointError
from ar_core.families import LUMINA_512, LUMINA_768
from ar_core.sampling import SamplingSettings
from ar_core.training import Subject, TrainingSettings, personalize

IDS = torch.tensor([[0, 20, 16390, 8197, 8820, 8820, 7, 9]])


def outputs(model: LuminaModel) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        logits = model.transformer.image_logits(model.transformer(model.transformer.embed(IDS)))
    return logits, model.decode(torch.arange(6).view(1, 2, 3))


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> LuminaModel:
    return LuminaModel.load(write_lumina(tmp_path_factory.mktemp("a")))


def layouts(folder):
    """By name, how to write and load each."""

    def lumina_with_metas_files():
        (folder / "m").mkdir()
        write_transformer(folder / "m", weights(), torch.bfloat16, 1)
        write_meta(folder / "m" / "chameleon" / "tokenizer")
        return LuminaModel.load(folder / "m")

    def given():
        (folder / "g").mkdir()
        write_transformer(folder / "g", weights(), torch.bfloat16, 1)
        meta = write_meta(folder / "elsewhere")
        return LuminaModel.load(folder / "g", vq=meta / "vqgan.ckpt", tokenizer=meta / "text_tokenizer.json")

    def encoder_only():
        write_chameleon(folder / "e", decoder=False)
        save_file({f"vqvae.{k}": v for k, v in vq_weights().items()}, folder / "e" / "vqgan.safetensors")
        return LuminaModel.load(folder / "e")

    return {
        "shards": lambda: LuminaModel.load(write_lumina(folder / "s", shards=3)),
        "float32": lambda: LuminaModel.load(write_lumina(folder / "f", dtype=torch.float32)),
        "float16": lambda: LuminaModel.load(write_lumina(folder / "h", dtype=torch.float16)),
        "chameleon": lambda: LuminaModel.load(write_chameleon(folder / "c")),
        "chameleon without decoder": encoder_only,
        "meta beside": lumina_with_metas_files,
        "meta given": given,
    }


@pytest.mark.parametrize("name", list(layouts(None)))
def test_every_layout_gives_the_same_model(name, tmp_path, complete):
    model = layouts(tmp_path)[name]()
    assert model.family is LUMINA_768
    assert model.fingerprint == complete.fingerprint
    assert model.image_tokenizer.config == VQ
    for got, expected in zip(outputs(model), outputs(complete)):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_the_fingerprint_names_the_weights_not_their_type(tmp_path, complete):
    folder = write_lumina(tmp_path / "x")
    for dtype in (torch.bfloat16, torch.float16):
        assert LuminaModel.load(folder, dtype=dtype).fingerprint == complete.fingerprint
    assert LuminaModel.load(write_lumina(tmp_path / "y", seed=1)).fingerprint != complete.fingerprint


def test_the_folders_name_tells_the_resolution(tmp_path):
    assert LuminaModel.load(write_lumina(tmp_path / "Lumina-mGPT-7B-512")).family is LUMINA_512
    assert LuminaModel.load(tmp_path / "Lumina-mGPT-7B-512", family="lumina-mgpt-768").family is LUMINA_768


def test_the_whole_job_on_the_real_protocol(tmp_path):
    """Photos as codes, both stages, a sample: 1060 image tokens of the 7B's own vocabulary."""
    model = LuminaModel.load(write_lumina(tmp_path / "Lumina-mGPT-7B-512"))
    codes = torch.randint(0, 8192, (2, 16, 64), generator=torch.Generator().manual_seed(0))
    subject = Subject("dog", (1024, 256), codes, (0, 1), "pixels")
    settings = TrainingSettings.resolve(model.family, embedding_steps=2, layer_steps=2, rank=2, batch_size=2)
    learned = personalize(model, subject, settings, tmp_path / "runs")[-1].personalization
    sampling = SamplingSettings.resolve(model.family, size=(1000, 250), seed=1)
    image = model.personalized(learned).generate("a photo of [V] on the beach", sampling)[0]
    assert sampling.size == (1024, 256) and image.images.shape == (1, 256, 1024, 3)
    assert image.prompt == "a photo of [V] dog on the beach" and image.codes.max() > 1024


# ---------------------------------------------------------------- defects


def changed(folder, change):
    """A complete folder whose transformer's tensors went through `change`."""
    write_lumina(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def rewritten_config(folder, **values):
    write_lumina(folder)
    (folder / "config.json").write_text(json.dumps({**config(), **values}))


def not_finite(tensors):
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = float("nan")


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
    "no weights": (without("model.safetensors"), "neither model.safetensors nor"),
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
    "missing key": (lambda f: changed(f, lambda t: t.pop("model.layers.1.self_attn.q_norm.bias")), "1 tensors are missing.*q_norm.bias"),
    "missing head": (lambda f: changed(f, lambda t: t.pop("lm_head.weight")), "lm_head.weight"),
    "unexpected key": (lambda f: changed(f, lambda t: t.update({"model.extra.weight": torch.zeros(1)})), "holds model.extra.weight"),
    "wrong shape": (
        lambda f: changed(f, lambda t: t.update({"model.norm.weight": torch.zeros(33)})),
        r"model.norm.weight .*\(33,\), expected \(32,\)",
    ),
    "not finite": (lambda f: changed(f, not_finite), "not a finite number, in model.layers.1.mlp.up_proj.weight"),
    "another architecture": (lambda f: rewritten_config(f, model_type="llama"), 'a "llama" model'),
    "swin norm": (lambda f: rewritten_config(f, swin_norm=True), "sets swin_norm"),
    "missing dimension": (lambda f: rewritten_config(f, hidden_size=None), "lacks the number hidden_size"),
    "another width": (lambda f: rewritten_config(f, intermediate_size=64), r"expected \(32, 64\)"),
    "a pickle with code": (executable_pickle, "vqgan.ckpt is damaged or holds more than tensors"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_is_one_sentence(name, tmp_path):
    write, sentence = DEFECTS[name]
    write(tmp_path / "model")
    with pytest.raises(ValueError, match=sentence) as caught:
        LuminaModel.load(tmp_path / "model")
    assert isinstance(caught.value, CheckpointError) or name == "broken text tokenizer"
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(CheckpointError, match="no model folder .*absent"):
        LuminaModel.load(tmp_path / "absent")


def test_derived_values_in_a_file_are_ignored(tmp_path, complete):
    changed(tmp_path / "model", lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}))
    assert LuminaModel.load(tmp_path / "model").fingerprint == complete.fingerprint
