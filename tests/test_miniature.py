"""The miniature's world and its own trainings, at a thousandth of their size."""

import functools
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ar_core.architecture import TransformerConfig
from ar_core.families.miniature import MINIATURE
from ar_core.text import NEUTRAL_TEMPLATES, TextTokenizer
from workshop.making import decoder_training, scorer_training, scorers, vq_training
from workshop.making.checkpointing import checkpoint_progress, lesson_weights, save_training
from workshop.making.codebook import MovingAverageCodebook
from workshop.making.export import export_miniature
from workshop.world.captions import describe_scene
from workshop.world.drawing import draw_scene
from workshop.world.held_out import is_held_out
from workshop.world.random_scenes import random_scene
from workshop.world.subjects import SUBJECTS, drawn_photos
from workshop.world.training_scenes import wild_scene
from workshop.world.vocabulary import CLASSES, COLOURS, PATTERNS, PLACES
from workshop.world.words import CONTROL_TOKENS, build_tokenizer, control_tokens, known_words, training_captions

SILENT = {"log": lambda message: None}
tokenizer_of_the_words = functools.cache(build_tokenizer)


def scenes(count, **choices):
    rng = random.Random(5)
    return [random_scene(rng, **choices) for _ in range(count)]


def test_the_world_is_as_large_as_promised():
    assert len(CLASSES) >= 10 and len(COLOURS) >= 9 and len(PATTERNS) >= 4 and len(PLACES) >= 12


def test_scenes_and_drawings_repeat():
    assert scenes(5) == scenes(5)
    for scene in [*scenes(3), wild_scene(random.Random(1))]:
        first, second = draw_scene(scene, 64), draw_scene(scene, 64)
        assert first.tobytes() == second.tobytes() and first.size == (64, 64)


def test_every_class_at_every_place_is_another_picture():
    rng = random.Random(0)
    pictures = {
        draw_scene(random_scene(rng, kind=kind, place=place), 32).tobytes() for kind in CLASSES for place in PLACES
    }
    assert len(pictures) == len(CLASSES) * len(PLACES)


def cell(scene):
    return scene.subject.kind, scene.subject.words.split(" ")[0], scene.subject.pattern


def test_held_out_combinations_never_occur_in_training():
    assert not any(is_held_out(*cell(scene)) for scene in scenes(400))
    assert all(is_held_out(*cell(scene)) for scene in scenes(50, held_out=True))
    share = np.mean([is_held_out(k, c, p) for k in CLASSES for c in COLOURS for p in PATTERNS])
    assert share == pytest.approx(1 / 12, abs=0.005)


def test_captions_hold_every_neutral_template_and_describe_their_scene():
    text = training_captions(3000)
    for template in NEUTRAL_TEMPLATES:
        assert template.format("dog") in text
        assert sum(caption.startswith(template.split("{}")[0]) for caption in text) > 5
    for scene in scenes(30):
        sentence = describe_scene(scene)
        assert scene.subject.kind in sentence and PLACES[scene.place] in sentence and scene.subject.words in sentence


def test_the_tokenizer_keeps_to_the_protocol():
    tokenizer = tokenizer_of_the_words()
    protocol = MINIATURE.bind(TextTokenizer(tokenizer))
    names = control_tokens()
    assert len(names) == CONTROL_TOKENS and [tokenizer.token_to_id(name) for name in names] == list(range(len(names)))
    assert protocol.control == set(range(CONTROL_TOKENS))
    assert protocol.code_base == decoder_training.CONFIG.head_first and protocol.identifiers >= 64
    assert tokenizer.get_vocab_size() <= decoder_training.CONFIG.vocab_size
    assert tokenizer.decode(protocol.encode("Dog ü 狗")) == "Dog ü 狗"
    assert all(len(protocol.encode(f" {word}")) == 1 for word in (*CLASSES, *COLOURS))
    assert {"dog", "wearing", "carpet", "left", "right", "next"} <= set(known_words())


def test_unseen_subjects_are_unseen():
    assert len(SUBJECTS) >= 6
    for name in SUBJECTS:
        pictures = [image.tobytes() for image, _ in drawn_photos(name, 5, 32)]
        assert len(set(pictures)) == 5


# ---------------------------------------------------------------- trainings


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(vq_training, "BATCH", 2)
    monkeypatch.setattr(vq_training, "CONFIG", vq_training.ImageTokenizerConfig(8, (1, 2), 1, 8, 4, 256, 4, 2))
    monkeypatch.setattr(decoder_training, "BATCH", 2)
    values = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    monkeypatch.setattr(decoder_training, "CONFIG", TransformerConfig(1616, **values, head_first=4, head_size=1024))


def decode_steps(folder, steps, stop=None):
    codes = np.random.RandomState(0).randint(0, 1024, (4, 16, 16)).astype(np.uint16)
    batches = decoder_training.Batches(codes, MINIATURE.bind(TextTokenizer(tokenizer_of_the_words())), 0)

    def until(step):
        if step == stop:
            raise KeyboardInterrupt
        return batches(step)

    decoder_training.train_decoder(folder, until, steps, **SILENT)


def test_the_decoders_training_goes_on_as_if_it_had_never_stopped(small, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_training, "rate_falls_at", lambda steps: steps - 2)
    decode_steps(tmp_path / "whole", 5)
    with pytest.raises(KeyboardInterrupt):
        decode_steps(tmp_path / "parts", 5, stop=4)  # past the plateau, whose state was kept at step 3
    assert checkpoint_progress(tmp_path / "parts" / "decoder_plateau.safetensors") == (3, 5)
    decode_steps(tmp_path / "parts", 5)
    whole, parts = (lesson_weights(tmp_path / name / "decoder_training.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_longer_training_starts_from_before_the_rate_fell(small, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_training, "rate_falls_at", lambda steps: steps - 2)
    decode_steps(tmp_path / "longer", 4)
    decode_steps(tmp_path / "longer", 6)
    decode_steps(tmp_path / "once", 6)
    longer, once = (lesson_weights(tmp_path / name / "decoder_training.safetensors") for name in ("longer", "once"))
    assert all(torch.equal(longer[k], once[k]) for k in longer)


def test_what_a_training_can_go_on_from(tmp_path):
    latest, plateau = tmp_path / "latest.safetensors", tmp_path / "plateau.safetensors"

    def keep(path, step):
        save_training(path, step, 100, torch.nn.Linear(1, 1), [], {})

    def choose(steps):
        return decoder_training.resumable_checkpoint(latest, plateau, steps)

    assert choose(100) is None
    keep(latest, 50)  # the rate falls from step 65 of 100 on
    assert choose(100) == choose(200) == latest and choose(70) is None  # of 70 steps it would have fallen since step 45
    keep(latest, 90), keep(plateau, 65)
    assert choose(100) == latest and choose(200) == plateau and choose(80) is None


def test_the_image_tokenizers_training_goes_on_as_if_it_had_never_stopped(small, tmp_path, monkeypatch):
    monkeypatch.setattr(vq_training, "UNQUANTISED", 0)
    monkeypatch.setattr(
        vq_training, "image_tokenizer_schedule", lambda step, steps: 1.0
    )  # else shorter trainings differ from the start
    monkeypatch.setattr(vq_training, "FINAL_CODES", 2)
    vq_training.train_image_tokenizer(tmp_path / "whole", 8, **SILENT)
    vq_training.train_image_tokenizer(tmp_path / "parts", 4, **SILENT)
    vq_training.train_image_tokenizer(tmp_path / "parts", 8, **SILENT)
    whole, parts = (lesson_weights(tmp_path / name / "vq_training.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_at_the_end_only_the_image_tokenizers_decoder_learns(small, tmp_path, monkeypatch):
    """Codes of the scenes can be computed from there on."""
    monkeypatch.setattr(vq_training, "UNQUANTISED", 0)
    monkeypatch.setattr(vq_training, "FINAL_CODES", 0)
    trained = vq_training.train_image_tokenizer(tmp_path, 8, seed=3, **SILENT)
    torch.manual_seed(3)
    fresh = vq_training.ImageTokenizer(vq_training.CONFIG).state_dict()
    changed = {
        name.split(".")[0] for name, value in trained.state_dict().items() if not torch.equal(value, fresh[name])
    }
    assert changed == {"quantize", "post_quant_conv", "decoder"}  # the codebook was set by k-means, once


def test_the_image_tokenizers_training_fills_its_codebook_and_exports(small, tmp_path, monkeypatch):
    from workshop.making import export as exporting

    monkeypatch.setattr(exporting, "VQ", vq_training.CONFIG)
    monkeypatch.setattr(exporting, "DECODER", decoder_training.CONFIG)
    monkeypatch.setattr(vq_training, "UNQUANTISED", 0.3)
    vq_training.train_image_tokenizer(tmp_path, 20, **SILENT)
    decode_steps(tmp_path, 1)
    export_miniature(tmp_path, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", "vqgan.safetensors"}
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["lm_head.weight"].shape == (1616, 16) and weights["lm_head.weight"][1028:].abs().sum() == 0
    assert weights["lm_head.weight"].dtype == torch.float16 and "image_head.weight" not in weights
    vq = load_file(tmp_path / "out" / "vqgan.safetensors")
    assert {
        "quantize.embedding.weight",
        "encoder.conv_in.weight",
        "decoder.conv_out.bias",
        "post_quant_conv.weight",
    } <= set(vq)


def test_the_codebook_follows_its_vectors_and_revives_dead_rows():
    rows = torch.nn.Parameter(torch.zeros(2, 1))
    codebook = MovingAverageCodebook(rows, decay=0.5)
    codebook.counts.fill_(1)
    codebook.update(torch.tensor([[4.0], [4.0]]), torch.tensor([0, 0]))
    assert rows[0].item() == pytest.approx(4 / 1.5 * 1.0) and rows[1].item() == 0
    for _ in range(5):
        codebook.update(torch.tensor([[4.0], [4.0]]), torch.tensor([0, 0]))
    assert rows[1].item() == 4  # nobody used row 1: it was moved onto a current vector


# ---------------------------------------------------------------- scorers


def test_the_pair_scorers_training_goes_on_with_its_own_tokenizer(tmp_path, monkeypatch):
    """Learned anew, the tokenizer may number its tokens in another way."""
    monkeypatch.setattr(scorers, "BATCH", 8)
    monkeypatch.setattr(scorer_training, "warm_up_and_fall", lambda *_: 1.0)  # else a shorter training differs
    scorer_training.train_scorer("pairs", tmp_path / "parts", 1, **SILENT)
    (tmp_path / "whole").mkdir()
    shutil.copy(tmp_path / "parts" / "pairs_tokenizer.json", tmp_path / "whole")
    parts = scorer_training.train_scorer("pairs", tmp_path / "parts", 2, **SILENT).state_dict()
    whole = scorer_training.train_scorer("pairs", tmp_path / "whole", 2, **SILENT).state_dict()
    assert all(torch.equal(whole[name], value) for name, value in parts.items())
