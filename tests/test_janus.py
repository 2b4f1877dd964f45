"""Janus-Pro: both layouts load to one model that computes what transformers' does, and everything works on it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_janus import (
    ROWS,
    SIZE,
    config,
    deepseek_weights,
    reference,
    small,
    weights,
    write_deepseek,
    write_transformers,
)
from tokenizers import Tokenizer
from torch.nn import functional as F

from ar_core import ARModel, cli
from ar_core.adapters import attach_adapter, merge_adapters
from ar_core.checkpoints.errors import CheckpointError
from ar_core.checkpoints.find import ModelFolder, find_parts, open_folder
from ar_core.checkpoints.fingerprint import fingerprint
from ar_core.checkpoints.janus import JANUS_TRANSFORMERS, TRANSFORMERS, unit_rows
from ar_core.checkpoints.reader import stored_tensors
from ar_core.families.janus_pro import JANUS_PRO_1B, JANUS_PRO_7B, is_janus_pro
from ar_core.families.registry import choose_family
from ar_core.personalization import Personalization
from ar_core.sampling import SamplingSettings
from ar_core.sampling.engine import Engine
from ar_core.text import TextError, TextTokenizer
from ar_core.training import Subject, TrainingSettings, personalize
from ar_core.training.trainable import initial_vectors, median_norm
from ar_core.transformer import Transformer
from benchmarks.common.janus_files import (
    LAYOUTS,
    SMALL,
    checkpoint_config,
    dimensions_of,
    janus_tokenizer_text,
    write_janus,
)
from benchmarks.random_checkpoint import tokenizer_text as lumina_tokenizer_text

PROMPTS = ("a dog", "ș, a dog and a dog on the beach")
CFG = 5.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """deepseek-ai's layout."""
    return write_deepseek(tmp_path_factory.mktemp("deepseek"))


@pytest.fixture(scope="module")
def model(folder) -> ARModel:
    return small(ARModel.load(folder, dtype=torch.float32))


def some_codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 16384, (count, 16), generator=torch.Generator().manual_seed(seed))


def test_every_layout_holds_the_same_model(folder, model, tmp_path):
    others = {
        "transformers": write_transformers(tmp_path / "transformers"),
        "two pickles and their index": write_deepseek(tmp_path / "shards", shards=2),
        "a copy as safetensors": write_deepseek(tmp_path / "copy", pickled=False),
    }
    for name, other in others.items():
        loaded = ARModel.load(other, dtype=torch.float32)
        assert loaded.fingerprint == model.fingerprint, name
        for ours, theirs in zip(loaded.transformer.parameters(), model.transformer.parameters(), strict=True):
            assert torch.equal(ours, theirs), name
        for ours, theirs in zip(loaded.image_tokenizer.parameters(), model.image_tokenizer.parameters(), strict=True):
            assert torch.equal(ours, theirs), name


def test_the_model_is_named_alike_in_every_precision(folder, model):
    assert ARModel.load(folder, dtype=torch.bfloat16).fingerprint == model.fingerprint
    assert ARModel.load(folder, quantized="int8").fingerprint == model.fingerprint


@pytest.mark.parametrize(
    "part",
    [
        "language_model.embed_tokens.weight",
        "generation_embeddings.weight",
        "generation_aligner.fc1.bias",
        "generation_aligner.hidden_layers.0.weight",
        "generation_head.proj_out.weight",
        "generation_head.vision_head.weight",
    ],
)
def test_another_value_of_what_draws_is_another_model(model, tmp_path, part):
    before = weights()[f"model.{part}"]
    other = ARModel.load(write_transformers(tmp_path / "m", {f"model.{part}": before + 1}))
    assert other.fingerprint != model.fingerprint


def test_the_name_leaves_out_rows_that_were_computed(model):
    """Their last bits differ between machines."""
    changed = Transformer(model.transformer.config).requires_grad_(False)
    changed.load_state_dict(model.transformer.state_dict())
    changed.model.embed_tokens.weight[ROWS:] += 1
    assert fingerprint(changed) == fingerprint(model.transformer)
    changed.model.embed_tokens.weight[:ROWS] += 1
    assert fingerprint(changed) != fingerprint(model.transformer)


def test_the_table_is_made_in_the_type_that_it_is_held_in(folder):
    """So that no second copy of it in float32 is in memory."""
    files = find_parts(open_folder(folder), JANUS_PRO_1B.sources)
    protocol = JANUS_PRO_1B.bind(TextTokenizer.load(files.tokenizer), files)
    format = next(form for form in JANUS_TRANSFORMERS if form.found_in(files))
    shapes = format.config(files, JANUS_PRO_1B, protocol)
    for dtype in (torch.bfloat16, torch.float32, None):
        first = next(iter(format.entries(files, shapes, dtype)))
        assert first.name == "model.embed_tokens.weight" and first.value.dtype == (dtype or torch.bfloat16)


def test_pickles_are_mapped_and_never_unpickled_whole(folder, monkeypatch):
    asked = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *places, **options: asked.append(options) or load(*places, **options))
    assert all(stored.read().numel() for stored in stored_tensors([folder / "pytorch_model.bin"]))
    assert asked and all(options["mmap"] and options["weights_only"] for options in asked)


def test_rows_of_the_codebook_get_the_same_length_on_every_machine():
    """Bit for bit what adding squares one after the other in float64 gives."""
    rows = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = [[value / math.sqrt(sum(other * other for other in row)) for value in row] for row in rows.tolist()]
    assert torch.equal(unit_rows(rows), torch.tensor(expected, dtype=torch.float64).float())


@torch.no_grad()
def reference_logits(rows: list[list[int]], codes: torch.Tensor) -> torch.Tensor:
    """transformers' logits (rows, 16, codes) of each picture's codes behind its row of ids, without any padding."""
    oracle = reference()
    found = []
    for ids, picture in zip(rows, codes, strict=True):
        words = oracle.get_input_embeddings()(torch.tensor([ids]))
        drawn = oracle.prepare_embeddings_for_image_generation(picture[None, :-1])
        hidden = oracle.model.language_model(inputs_embeds=torch.cat([words, drawn], 1)).last_hidden_state
        found.append(oracle.model.generation_head(hidden[:, len(ids) - 1 :]))
    return torch.cat(found)


def padded_away(ids: list[int], pad: int) -> list[int]:
    """As deepseek-ai's generation_inference.py fills its unguided rows."""
    row = list(ids)
    row[1:-1] = [pad] * len(row[1:-1])
    return row


@torch.inference_mode()
def engine_logits(model: ARModel, codes: torch.Tensor, cfg: float) -> torch.Tensor:
    """Guided logits (images, 16, codes) of a batch of prompts, fed the codes one after the other."""
    ids = [model.protocol.prompt(prompt, SIZE) for prompt in PROMPTS]
    engine = Engine(model.transformer, model.protocol, ids, SIZE, cfg)
    found = [engine.prefill()]
    for index in range(15):
        found.append(engine.advance(codes[:, index : index + 1] + model.protocol.code_base)[:, 0])
    return torch.stack(found, 1)


@pytest.mark.parametrize("cfg", [1.0, CFG])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_logits_of_a_batch_agree_with_transformers_at_every_position(folder, dtype, limit, cfg):
    model = small(ARModel.load(folder, dtype=dtype))
    codes = some_codes(2)
    ids = [model.protocol.prompt(prompt, SIZE) for prompt in PROMPTS]
    assert len(ids[0]) != len(ids[1])
    guided = reference_logits(ids, codes)
    pad = model.text.id_of("<｜▁pad▁｜>")
    unguided = reference_logits([padded_away(row, pad) for row in ids], codes)
    expected = unguided + cfg * (guided - unguided)
    difference = (engine_logits(model, codes, cfg) - expected).abs().max()
    assert difference < limit * (2 * cfg - 1 if dtype == torch.bfloat16 else 1)  # guidance multiplies rounding
    assert (guided - unguided).abs().max() > 0.5  # what the limits are to be seen against


def test_prompts_are_what_deepseeks_template_makes(model):
    ids = model.protocol.prompt("a dog", SIZE)
    expected = "<｜begin▁of▁sentence｜><|User|>: a dog\n\n<|Assistant|>:<begin_of_image>"
    assert ids == model.text.tokenizer.encode(expected, add_special_tokens=False).ids
    assert model.protocol.unguided(ids) == padded_away(ids, model.text.id_of("<｜▁pad▁｜>"))


def test_pictures_and_codes_agree_with_transformers(model):
    codes = some_codes(2)
    vq = reference().model.vqmodel
    with torch.no_grad():
        pictures = (vq.decode(codes).movedim(1, -1) / 2 + 0.5).clamp(0, 1)  # (2, 64, 64, 3)
        ours = model.image_tokenizer.decode(codes.view(2, 4, 4))
        assert (ours - pictures).abs().max() < 1e-4

        images = torch.rand(2, *SIZE, 3, generator=torch.Generator().manual_seed(1))
        latents = vq.quant_conv(vq.encoder(images.movedim(-1, 1) * 2 - 1))
        unit = F.normalize(latents.movedim(1, -1), dim=-1)
        rows = F.normalize(vq.quantize.embedding.weight, dim=-1)
        assert torch.equal(model.encode(images), (unit @ rows.T).argmax(-1))


def test_text_is_never_mistaken_for_control_tokens(model):
    for name in ("<|User|>", "<begin_of_image>", "<｜▁pad▁｜>", "<|ref|>"):
        with pytest.raises(TextError, match="control token"):
            model.check_prompt(f"a dog {name}", SIZE)
    assert model.check_prompt("ș", SIZE)  # an ordinary letter among them


def test_identifiers_lie_on_rows_that_no_token_has_and_are_padded_away(model):
    protocol = model.protocol
    assert protocol.identifier_base > model.text.largest_id()
    assert protocol.identifier_base + protocol.identifiers == protocol.code_base == ROWS
    personalized = model.personalized(subject_of(model))
    ids = personalized.protocol.prompt("a [V] dog", SIZE, personalized.identifiers)
    assert protocol.identifier_base in ids and protocol.identifier_base not in protocol.unguided(ids)


def test_vectors_start_at_the_length_of_words_not_of_codes(model):
    transformer = model.transformer
    table = transformer.model.embed_tokens.weight
    assert median_norm(table) > 1.2 * median_norm(table[:ROWS])  # so that it makes a difference
    vectors = initial_vectors(transformer, model.protocol, "dog", 1, "random", 0)
    assert vectors.norm().item() == pytest.approx(median_norm(table[:ROWS]), rel=1e-4)


def test_the_likeliest_codes_are_the_same_with_any_window(model):
    settings = SamplingSettings.resolve(model.family, top_k=1, seed=3)
    pictures = [
        torch.cat([image.codes for image in model.generate(list(PROMPTS), replace(settings, window=window))])
        for window in (1, 4, 16)
    ]
    assert torch.equal(pictures[0], pictures[1]) and torch.equal(pictures[0], pictures[2])


# ---------------------------------------------------------------- training


def subject_for(model: ARModel) -> Subject:
    """Random codes instead of photos."""
    return Subject("dog", SIZE, some_codes(4).view(4, 4, 4), (0, 0, 1, 1), "some pixels")


def settings_for(model: ARModel, **changes) -> TrainingSettings:
    values = {"embedding_steps": 4, "layer_steps": 4, "batch_size": 2, "micro_batch": 1, "rank": 2, **changes}
    return TrainingSettings.resolve(model.family, **values)


def subject_of(model: ARModel) -> Personalization:
    return Personalization("[V]", "dog", torch.zeros(1, 64), None, model.fingerprint)


@pytest.mark.parametrize("changes", [{}, {"method": "full"}, {"strategy": "joint"}, {"strategy": "embedding_only"}])
def test_a_training_that_goes_on_ends_as_one_without_a_stop(model, tmp_path, changes):
    strategy = changes.get("strategy", "two_stage")
    whole = personalize(model, subject_for(model), settings_for(model, **changes), tmp_path / "whole")
    half = {"embedding_steps": 2} if strategy == "embedding_only" else {"layer_steps": 2}
    personalize(model, subject_for(model), settings_for(model, **changes, **half), tmp_path / "half")
    resumed = personalize(model, subject_for(model), settings_for(model, **changes), tmp_path / "half")
    expected, found = whole[-1].personalization, resumed[-1].personalization
    assert torch.equal(expected.vectors, found.vectors)
    if expected.adapter is not None:
        ours, theirs = expected.adapter.file_tensors(), found.adapter.file_tensors()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def learned(model, tmp_path_factory) -> Personalization:
    settings = settings_for(model, layer_learning_rate=0.05)
    results = personalize(model, subject_for(model), settings, tmp_path_factory.mktemp("runs"))
    return results[-1].personalization


def test_what_is_learned_reaches_the_picture_and_strength_0_leaves_the_base(model, learned):
    settings = SamplingSettings.resolve(model.family, seed=1)
    before = model.personalized(learned, strength=0).generate("a [V] dog", settings)[0].codes
    after = model.personalized(learned).generate("a [V] dog", settings)[0].codes
    plain = model.generate("a dog", settings)[0].codes
    assert torch.equal(before, plain) and not torch.equal(before, after)


@pytest.mark.parametrize(("scheme", "least"), [("int8", 0.99), ("4-bit", 0.8)])
def test_quantised_weights_take_the_change_beside_them(folder, model, learned, scheme, least):
    """What the subject changes in the logits is the same as merged into the whole weights, but for rounding."""
    quantized = small(ARModel.load(folder, dtype=torch.float32, quantized=scheme))
    assert quantized.fingerprint == model.fingerprint
    changes = []
    for loaded in (quantized, model):
        personalized = loaded.personalized(learned)
        ids = torch.tensor([loaded.protocol.prompt("a [V] dog", SIZE, personalized.identifiers)])
        embeddings = loaded.base.embed(ids)
        entering = personalized.concepts.placed_in(ids)
        with torch.no_grad(), personalized.personalizing():
            after = loaded.base.image_logits(personalized.transformer(embeddings, entering=entering))
        with torch.no_grad():
            before = loaded.base.image_logits(loaded.base(embeddings, entering=entering))
        changes.append((after - before).flatten())
    assert F.cosine_similarity(*changes, dim=0) > least


@pytest.mark.parametrize("method", ["lora", "full"])
def test_merged_into_the_weights_is_beside_them(model, tmp_path, method):
    settings = settings_for(model, layer_learning_rate=0.05, method=method)
    adapter = personalize(model, subject_for(model), settings, tmp_path)[-1].personalization.adapter
    ids = torch.tensor([model.protocol.prompt("a dog", SIZE)])
    with torch.no_grad():
        embeddings = model.transformer.embed(ids)
        with attach_adapter(model.transformer, adapter, 0.7):
            beside = model.transformer(embeddings)
        merged = merge_adapters(model.transformer, [(adapter, 0.7)])(embeddings)
        assert not torch.allclose(beside, model.transformer(embeddings), atol=1e-2)
    torch.testing.assert_close(beside, merged, atol=1e-4, rtol=1e-4)


def test_a_learned_file_carries_the_licences_duty_and_the_bases_name(learned, tmp_path, capsys):
    path = learned.save(tmp_path / "dog")
    metadata = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])["__metadata__"]
    assert "use restrictions" in metadata["modelspec.license"]
    assert metadata["modelspec.architecture"] == "janus-pro/personalization"
    loaded = Personalization.load(path)
    assert loaded.licence_notice == learned.licence_notice and loaded.is_in(path)
    assert cli.main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert "base: janus-pro" in said and "use restrictions" in said


# ---------------------------------------------------------------- bad input


def test_the_family_is_told_by_the_dimensions(tmp_path):
    def family_of(model_type, table, **dimensions):
        (tmp_path / "config.json").write_text(
            json.dumps({"model_type": model_type, table: {"vocab_size": 102400, **dimensions}}), encoding="utf-8"
        )
        (tmp_path / "pytorch_model.bin").touch()
        return choose_family(open_folder(tmp_path)).family

    assert family_of("multi_modality", "language_config", hidden_size=2048) is JANUS_PRO_1B
    assert family_of("multi_modality", "language_config") is JANUS_PRO_7B  # LlamaConfig's own width
    assert family_of("janus", "text_config", hidden_size=4096) is JANUS_PRO_7B


@pytest.mark.parametrize("family", [JANUS_PRO_1B, JANUS_PRO_7B], ids=lambda family: family.name)
def test_the_tokenizer_of_the_other_size_is_told(family, tmp_path):
    """Its pad and its begin of an image would be ordinary rows: wrong pictures without an error.

    The 1B's ids are known, so anything else is refused; the 7B's are only reported to be others.
    """
    folder = ModelFolder(tmp_path, checkpoint_config(TRANSFORMERS, dimensions_of(family)), ())
    for owner in (JANUS_PRO_1B, JANUS_PRO_7B):
        text = TextTokenizer(Tokenizer.from_str(janus_tokenizer_text(owner)), source="tokenizer.json")
        if owner is JANUS_PRO_7B and family is JANUS_PRO_1B:
            with pytest.raises(CheckpointError, match=f"tokenizer.json is not the tokenizer of {family.title}"):
                family.bind(text, folder)
            continue
        protocol = family.bind(text, folder)
        assert protocol.begin == 100000 and protocol.identifier_base == 102144 and protocol.code_base == 102400
        assert ("the 7B's own tokenizer.json" in family.doubt(text, folder)) == (owner is not family)


def test_random_weights_of_both_layouts_are_the_same_model(tmp_path):
    """`benchmarks.random_checkpoint`, with small dimensions."""
    loaded = []
    for name, layout in LAYOUTS.items():
        write_janus(tmp_path / name, JANUS_PRO_1B, layout, SMALL)
        loaded.append(ARModel.load(tmp_path / name, dtype=torch.float32))
    assert loaded[0].fingerprint == loaded[1].fingerprint
    codes = some_codes(1).view(1, 4, 4)
    assert torch.equal(loaded[0].decode(codes), loaded[1].decode(codes))


def edited_config(folder, outside=None, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(outside or {})
    content["language_config"].update(changes)
    path.write_text(json.dumps(content), encoding="utf-8")


def edited_weights(folder, change):
    tensors = deepseek_weights()
    change(tensors)
    torch.save(tensors, folder / "pytorch_model.bin")


def with_lumina_tokenizer(folder):
    (folder / "tokenizer.json").write_text(lumina_tokenizer_text(), encoding="utf-8")


def without_shard(folder):
    (folder / "pytorch_model.bin").unlink()
    write_deepseek(folder, shards=2)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()


class Evil:
    def __reduce__(self):
        return print, ("unpickled",)


def pop(name):
    return lambda tensors: tensors.pop(name)


BAD = {
    "no config": (lambda f: (f / "config.json").unlink(), r"config.json is missing"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"text tokenizer is missing: put tokenizer.json of"),
    "no weights": (lambda f: (f / "pytorch_model.bin").unlink(), r"model.safetensors is missing"),
    "a shard is missing": (without_shard, r"00002-of-00002.bin is missing .*index.json lists it.*\.bin files"),
    "Lumina's tokenizer": (with_lumina_tokenizer, r"tokenizer.json has no token <｜begin▁of▁sentence｜>"),
    "a larger vocabulary": (lambda f: edited_config(f, vocab_size=2048), r"language_model.*\(1024, 64\), expected"),
    "a smaller vocabulary": (lambda f: edited_config(f, vocab_size=300), r"must be free"),
    "no vocabulary": (lambda f: edited_config(f, vocab_size="many"), r"no usable number vocab_size"),
    "another architecture": (lambda f: edited_config(f, attention_bias=True), r"attention_bias"),
    "another head": (lambda f: edited_config(f, head_dim=8), r"head_dim"),
    "a tensor is missing": (lambda f: edited_weights(f, pop("gen_aligner.layers.2.bias")), r"lacks gen_aligner"),
    "no head": (lambda f: edited_weights(f, pop("gen_head.output_mlp_projector.weight")), r"gen_head.*none of"),
    "no decoder": (lambda f: edited_weights(f, pop("gen_vision_model.decoder.conv_in.weight")), r"image tokenizer"),
    "codes of another width": (
        lambda f: edited_weights(f, lambda t: t.update({"gen_embed.weight": torch.zeros(16384, 4).bfloat16()})),
        r"layers.0.weight in .*\(64, 8\), expected \(64, 4\)",
    ),
    "another codebook": (
        lambda f: edited_weights(
            f, lambda t: t.update({"gen_vision_model.quantize.embedding.weight": torch.ones(512, 8).bfloat16()})
        ),
        r"has 512 codes, Janus-Pro 1B, 384 px needs 16384",
    ),
    "codes that are one number": (
        lambda f: edited_weights(f, lambda t: t.update({"gen_embed.weight": torch.tensor(1.0)})),
        r"gen_embed.weight in .*expected a matrix",
    ),
    "a bias that would be spread": (
        lambda f: edited_weights(f, lambda t: t.update({"gen_aligner.layers.0.bias": torch.ones(1, 64)})),
        r"layers.0.bias in .*\(1, 64\), expected \(64,\)",
    ),
    "whole numbers": (
        lambda f: edited_weights(f, lambda t: t.update({"gen_embed.weight": torch.ones(16384, 8).int()})),
        r"pytorch_model.bin holds gen_embed.weight as torch.int32",
    ),
    "codes that are no numbers": (
        lambda f: edited_weights(f, lambda t: t.update({"gen_aligner.layers.0.bias": torch.full((64,), torch.nan)})),
        r"pytorch_model.bin holds a weight in gen_aligner.layers.0.bias that is not a finite",
    ),
    "a codebook of whole numbers": (
        lambda f: edited_weights(
            f, lambda t: t.update({"gen_vision_model.quantize.embedding.weight": torch.ones(16384, 8).int()})
        ),
        r"quantize.embedding.weight as torch.int32",
    ),
    "a codebook with a row of zeros": (
        lambda f: edited_weights(
            f, lambda t: t.update({"gen_vision_model.quantize.embedding.weight": torch.zeros(16384, 8).bfloat16()})
        ),
        r"row of zeros in gen_vision_model.quantize.embedding.weight",
    ),
    "no bias of the head": (lambda f: edited_weights(f, pop("gen_head.vision_head.bias")), r"lacks gen_head.vision_h"),
    "no layer": (
        lambda f: edited_weights(f, pop("language_model.model.layers.2.mlp.up_proj.weight")),
        r"lacks language_model.model.layers.2.mlp.up_proj.weight",
    ),
    "an empty convolution": (
        lambda f: edited_weights(
            f, lambda t: t.update({"gen_vision_model.encoder.conv_in.weight": torch.zeros(0, 3, 3, 3).bfloat16()})
        ),
        r"does not hold a whole image tokenizer",
    ),
    "a huge number": (lambda f: edited_config(f, rope_theta=10**400), r"no usable number rope_theta"),
    "a norm of nothing": (lambda f: edited_config(f, rms_norm_eps=0), r"no usable number rms_norm_eps"),
    "heads of one channel": (lambda f: edited_config(f, num_attention_heads=64), r"number num_attention_heads"),
    "half a rotation": (lambda f: edited_config(f, partial_rotary_factor=0.5), r"partial_rotary_factor"),
    "the other family's name": (
        lambda f: edited_config(f, outside={"family": "janus-pro-7b"}),
        r"names the family .janus-pro-7b., but describes",
    ),
    "a pointer of git": (
        lambda f: (f / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        r"pytorch_model.bin is a pointer of Git LFS",
    ),
    "more than tensors": (lambda f: torch.save({"a": Evil()}, f / "pytorch_model.bin"), r"damaged or holds more than"),
    "no table": (lambda f: torch.save([1], f / "pytorch_model.bin"), r"holds no tensors"),
    "truncated": (
        lambda f: (f / "pytorch_model.bin").write_bytes((f / "pytorch_model.bin").read_bytes()[:100000]),
        r"pytorch_model.bin is damaged",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_sentence_that_names_them(name, tmp_path, capsys):
    spoil, message = BAD[name]
    folder = write_deepseek(tmp_path / "model")
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as raised:
        ARModel.load(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)
    assert "weights_only" not in str(raised.value)  # which torch advises to switch off
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "key",
    [
        "gen_embed.weight",
        "gen_aligner.layers.2.weight",
        "language_model.model.embed_tokens.weight",
        "language_model.model.norm.weight",
        "gen_vision_model.decoder.conv_out.weight",
    ],
)
def test_a_tensor_in_two_files_is_refused(key, tmp_path):
    folder = write_deepseek(tmp_path / "model", shards=2)
    for path in sorted(folder.glob("*.bin")):
        tensors = torch.load(path, weights_only=True)
        torch.save({**tensors, key: -3 * deepseek_weights()[key]}, path)
    with pytest.raises(CheckpointError, match=f"{key}, which .*another file holds too"):
        ARModel.load(folder)


def test_another_image_tokenizer_that_is_asked_for_is_not_passed_over(folder):
    with pytest.raises(CheckpointError, match=r"config.json is damaged or incomplete"):
        ARModel.load(folder, vq=folder / "config.json")


@pytest.mark.parametrize(
    "config", ['{"model_type": []}', '{"model_type": {}}', "[1]", '{"model_type": "janus", "text_config": 1}', "{"]
)
def test_an_odd_config_is_no_janus_pro_and_no_error(config, tmp_path):
    """ComfyUI's list of models looks into every folder; an error there would take the whole pack away."""
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    assert not is_janus_pro(tmp_path)


def test_a_tokenizer_that_was_saved_with_truncation_or_padding_reads_whole_prompts(tmp_path):
    folder = write_deepseek(tmp_path / "model")
    plain = ARModel.load(folder).protocol.prompt("a dog on a dog with a dog", SIZE)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 262,
        "pad_type_id": 0,
        "pad_token": "<｜▁pad▁｜>",
    }
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert ARModel.load(folder).protocol.prompt("a dog on a dog with a dog", SIZE) == plain


def test_control_tokens_are_known_where_the_file_does_not_mark_them(tmp_path):
    folder = write_deepseek(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for token in content["added_tokens"]:
        token["special"] = False
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    unmarked = ARModel.load(folder)
    for name in ("<|User|>", "<|/ref|>", "<end_of_image>"):
        with pytest.raises(TextError, match="control token"):
            unmarked.check_prompt(f"a dog {name}", SIZE)
    assert unmarked.check_prompt("ș", SIZE)


def test_an_index_names_files_beside_itself_alone(tmp_path):
    folder = write_deepseek(tmp_path / "model", shards=2)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(index.read_text(encoding="utf-8").replace("pytorch_model-00001", "../pytorch_model-00001"))
    with pytest.raises(CheckpointError, match="weight_map"):
        ARModel.load(folder)


def test_what_reads_pictures_and_writes_text_is_not_needed(folder, model, tmp_path):
    other = write_transformers(tmp_path / "m")
    tensors = load_file(other / "model.safetensors")
    kept = {
        key: value
        for key, value in tensors.items()
        if not key.startswith(("lm_head", "model.vision_model", "model.aligner"))
    }
    assert len(kept) < len(tensors)
    save_file(kept, other / "model.safetensors")
    assert ARModel.load(other).fingerprint == model.fingerprint
    assert config().tie_word_embeddings is False


def test_a_recipe_of_another_family_is_shown_as_this_one_takes_it(folder, capsys):
    assert cli.main(["info", "--model", str(folder), "--recipe", "paper"]) == 0
    said = capsys.readouterr().out
    assert "recipe of Janus-Pro 1B" in said and "(384, 384)" in said and "(768, 768)" not in said
    assert "the paper's recipe was made for Lumina-mGPT" in said


def test_the_command_line_says_that_another_size_is_drawn(folder, tmp_path, capsys):
    """At its one real size: 576 codes, in the order of a window."""
    options = ["--model", str(folder), "--prompt", "a dog", "--size", "512x768", "--out", str(tmp_path / "out")]
    assert cli.main(["sample", *options, "--window", "64", "--top-k", "1"]) == 0
    said = capsys.readouterr().out
    assert "does not draw 512x768; 384x384 is the nearest" in said
    (picture,) = (tmp_path / "out").iterdir()
    assert Image.open(picture).size == (384, 384)
