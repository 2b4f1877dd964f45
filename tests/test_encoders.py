"""Encoders load from what the hub really holds, and nothing else is ever called by their names."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace

import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from tiny_encoders import COMMIT, publish, put_in_cache, write_clip, write_encoders, write_vit

from ar_core import cli
from ar_core.dreambench.architectures import CLIP, VIT
from ar_core.dreambench.encoders import MINIATURE_SCORERS, OWN_ENCODERS, PAPER_ENCODERS, EncoderError, Encoders

PICTURES = [Image.new("RGB", (90, 70), colour) for colour in ("red", "teal")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Small encoders with safetensors, as transformers saves them today."""
    return write_encoders(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def published(folders, tmp_path):
    """The same weights in the files that are published."""
    for name in ("dino", "clip"):
        shutil.copytree(folders / name, tmp_path / name)
        publish(tmp_path / name)
    return tmp_path


def own(base, vit="dino", clip="clip"):
    return replace(OWN_ENCODERS, vit=base / vit, clip=base / clip)


def vectors(encoders):
    return [*encoders.embed_images(PICTURES), encoders.embed_texts(["a dog", "a red cup"])]


def assert_same(first, second):
    assert all(torch.equal(one, other) for one, other in zip(vectors(first), vectors(second), strict=True))


def edit_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def edit_weights(folder, change):
    path = folder / "pytorch_model.bin"
    torch.save(change(torch.load(path, weights_only=True)), path)


# ---------------------------------------------------------------- what is published


def test_the_published_pickles_give_the_vectors_and_the_hash_of_the_safetensors(folders, published):
    saved = Encoders.load(own(folders))
    pickled = Encoders.load(own(published))
    assert_same(saved, pickled)
    assert saved.names == pickled.names and saved.names["own-ID"].startswith("dino@weights ")


def test_transformers_own_loading_gives_the_same_vectors(folders):
    from transformers import ViTModel

    theirs = ViTModel.from_pretrained(folders / "dino", add_pooling_layer=False)
    ours = Encoders.load(own(folders))
    assert_same(ours, replace(ours, vit=theirs.eval()))


def test_the_papers_encoders_are_found_in_the_hubs_cache_with_their_commit(tmp_path, monkeypatch):
    write_encoders(tmp_path, of_paper=True)
    for folder, name in (("dino", PAPER_ENCODERS.vit), ("clip", PAPER_ENCODERS.clip)):
        publish(tmp_path / folder)
        put_in_cache(tmp_path / folder, tmp_path / "hub", name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    found = Encoders.load()
    assert found.embed_images(PICTURES)[0].shape == (2, 384)
    assert found.names["DINO"].startswith(f"facebook/dino-vits16@{COMMIT[:20]} weights ")
    assert found.names["CLIP-I and CLIP-T"].startswith(f"openai/clip-vit-base-patch32@{COMMIT[:20]} weights ")
    repository = tmp_path / "hub" / "models--facebook--dino-vits16"
    for folder in (repository, repository / "snapshots" / COMMIT):  # given by hand
        assert Encoders.load(replace(PAPER_ENCODERS, vit=folder)).names == found.names
    (repository / "refs" / "main").unlink()
    with pytest.raises(EncoderError, match="does not say which snapshot is the newest"):
        Encoders.load()


def test_an_unfinished_download_in_the_cache_names_what_is_missing(tmp_path, monkeypatch, folders):
    shutil.copytree(folders / "dino", tmp_path / "dino")
    snapshot = put_in_cache(tmp_path / "dino", tmp_path / "hub", "me/vit")
    (snapshot / "model.safetensors").resolve().unlink()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(EncoderError, match="has no weights. An encoder needs .*pytorch_model.bin"):
        Encoders.load(replace(own(folders), vit="me/vit"))


@pytest.mark.parametrize("prefix", ["vit.", "dino."])
def test_weights_below_a_prefix_are_those_of_the_encoder(prefix, published):
    before = Encoders.load(own(published))
    edit_weights(
        published / "dino",
        lambda tensors: {**{prefix + name: value for name, value in tensors.items()}, "head.weight": torch.ones(2)},
    )
    assert_same(before, Encoders.load(own(published)))


def test_words_are_read_from_vocab_and_merges_where_there_is_no_tokenizer_json(published):
    before = Encoders.load(own(published))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (published / "clip" / name).unlink(missing_ok=True)
    assert_same(before, Encoders.load(own(published)))
    (published / "clip" / "merges.txt").unlink()
    with pytest.raises(EncoderError, match="tokenizer in the folder .* It needs tokenizer.json, or vocab.json and"):
        Encoders.load(own(published))


def test_half_precision_in_the_config_does_not_round_the_weights(published):
    before = Encoders.load(own(published))
    edit_config(published / "dino", torch_dtype="float16", dtype="float16")
    assert Encoders.load(own(published)).names == before.names


# ---------------------------------------------------------------- what is refused


def test_exchanged_folders_are_refused(folders):
    said = 'The folder .*clip holds a model of the type "clip", and "vit" is needed here: give facebook/dino-vits16'
    with pytest.raises(EncoderError, match=said):
        Encoders.load(replace(PAPER_ENCODERS, vit=folders / "clip", clip=folders / "dino"))
    with pytest.raises(EncoderError, match='dino holds a model of the type "vit", and "clip" is needed here'):
        Encoders.load(own(folders, clip="dino"))


@pytest.mark.parametrize("name, value", [("patch_size", 8), ("hidden_size", 768), ("num_hidden_layers", 11)])
def test_another_vit_is_not_called_dino(name, value, tmp_path, folders):
    write_vit(tmp_path / "dino", of_paper=True)
    edit_config(tmp_path / "dino", **{name: value})
    said = rf'with {name} "{value}", and facebook/dino-vits16 is needed here \(hidden_size 384, .*patch_size 16, .*\)'
    with pytest.raises(EncoderError, match=said):
        Encoders.load(replace(PAPER_ENCODERS, vit=tmp_path / "dino", clip=folders / "clip"))


@pytest.mark.parametrize(
    "name, value", [("projection_dim", 768), ("vision_config.patch_size", 14), ("vision_config.image_size", 336)]
)
def test_another_clip_is_not_called_clip_i_and_clip_t(name, value, tmp_path, folders):
    write_clip(tmp_path / "clip", of_paper=True)
    *outer, inner = name.split(".")
    config = json.loads((tmp_path / "clip" / "config.json").read_text(encoding="utf-8"))
    place = config[outer[0]] if outer else config
    place[inner] = value
    edit_config(tmp_path / "clip", **config)
    choice = replace(PAPER_ENCODERS, vit=folders / "dino", clip=tmp_path / "clip", vit_needs=VIT)
    with pytest.raises(EncoderError, match=f'with {name} "{value}", and openai/clip-vit-base-patch32 is needed here'):
        Encoders.load(choice)


def test_encoders_of_other_sizes_score_under_names_of_their_own(folders, tmp_path, capsys):
    photos = tmp_path / "cup"
    photos.mkdir()
    PICTURES[0].save(photos / "0.png")
    (tmp_path / "made").mkdir()
    PICTURES[1].save(tmp_path / "made" / "a_cup__0.png")
    command = ["score", "--images", str(tmp_path / "made"), "--photos", str(photos), "--out", str(tmp_path / "out")]
    given = ["--dino", str(folders / "dino"), "--clip", str(folders / "clip")]
    assert cli.main([*command, *given]) == 1
    assert "facebook/dino-vits16 is needed here" in capsys.readouterr().err
    assert cli.main([*command, "--encoders", "own"]) == 1
    assert "--encoders own needs --dino" in capsys.readouterr().err
    assert cli.main([*command, "--encoders", "own", *given]) == 0
    said = capsys.readouterr().out
    assert "own-CLIP-T" in said and "published" not in said and "DINO" not in said


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {name: value for name, value in tensors.items() if "layernorm" not in name},
        lambda tensors: {**tensors, "layernorm.weight": torch.ones(7)},
    ],
    ids=["missing", "shape"],
)
def test_a_weight_that_would_be_random_is_refused(change, published):
    edit_weights(published / "dino", change)
    with pytest.raises(
        EncoderError, match=r"The weights in the folder .*dino are not those of its config.json: .* as "
    ):
        Encoders.load(own(published))


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_a_pickle_that_holds_more_than_tensors_is_refused_and_not_run(published, capsys):
    path = published / "dino" / "pytorch_model.bin"
    path.write_bytes(pickle.dumps({"cls_token": Evil()}))
    with pytest.raises(EncoderError, match="pytorch_model.bin is damaged or holds more than tensors"):
        Encoders.load(own(published))
    assert "unpickled" not in capsys.readouterr().out


def test_a_pointer_of_git_lfs_is_named(published):
    (published / "clip" / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(EncoderError, match="pytorch_model.bin is a pointer of Git LFS"):
        Encoders.load(own(published))


def test_other_weights_have_another_name(published):
    before = Encoders.load(own(published)).names
    edit_weights(published / "dino", lambda tensors: {name: 2 * value for name, value in tensors.items()})
    after = Encoders.load(own(published)).names
    assert before["own-ID"] != after["own-ID"] and before["own-CLIP-I and own-CLIP-T"] in after.values()


def test_nothing_is_said_about_weights_that_are_not_used(published, capfd):
    Encoders.load(own(published))  # the file has a pooler and old tables of places
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


def test_the_miniatures_scorers_are_what_they_were():
    from ar_core.dreambench.encoders import MINIATURE_ENCODERS

    assert MINIATURE_ENCODERS.vit == MINIATURE_SCORERS / "identity"
    assert MINIATURE_ENCODERS.vit_needs == VIT and MINIATURE_ENCODERS.clip_needs == CLIP
