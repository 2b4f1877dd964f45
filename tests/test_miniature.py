"""The miniature's world and its own trainings, at a thousandth of their size."""

import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ar_core.families import MINIATURE
from ar_core.miniature import decoder_training, evaluate, judges, vq_training
from ar_core.miniature.checkpointing import progress, trained_weights
from ar_core.miniature.drawing import draw
from ar_core.miniature.export import export
from ar_core.miniature.scenes import CLASSES, COLOURS, PATTERNS, PLACES, describe, is_held_out, random_scene, wild_scene
from ar_core.miniature.subjects import SUBJECTS, photos_of
from ar_core.miniature.words import build_tokenizer, captions, control_tokens, known_words
from ar_core.text import NEUTRAL_TEMPLATES, TextTokenizer
from ar_core.transformer import TransformerConfig

SILENT = {"log": lambda message: None}


def scenes(count, **choices):
    rng = random.Random(5)
    return [random_scene(rng, **choices) for _ in range(count)]


def test_the_world_is_as_large_as_promised():
    assert len(CLASSES) >= 10 and len(COLOURS) >= 9 and len(PATTERNS) >= 4 and len(PLACES) >= 12


def test_scenes_and_drawings_repeat():
    assert scenes(5) == scenes(5)
    for scene in [*scenes(3), wild_scene(random.Random(1))]:
        first, second = draw(scene, 64), draw(scene, 64)
        assert first.tobytes() == second.tobytes() and first.size == (64, 64)


def test_every_class_at_every_place_is_another_picture():
    rng = random.Random(0)
    pictures = {draw(random_scene(rng, kind=kind, place=place), 32).tobytes() for kind in CLASSES for place in PLACES}
    assert len(pictures) == len(CLASSES) * len(PLACES)


def cell(scene):
    return scene.subject.kind, scene.subject.words.split(" ")[0], scene.subject.pattern


def test_held_out_combinations_never_occur_in_training():
    assert not any(is_held_out(*cell(scene)) for scene in scenes(400))
    assert all(is_held_out(*cell(scene)) for scene in scenes(50, held_out=True))
    share = np.mean([is_held_out(k, c, p) for k in CLASSES for c in COLOURS for p in PATTERNS])
    assert share == pytest.approx(1 / 12, abs=0.005)


def test_captions_hold_every_neutral_template_and_describe_their_scene():
    text = captions(3000)
    for template in NEUTRAL_TEMPLATES:
        assert sum(caption.startswith(template.split("{}")[0]) for caption in text) > 5
    for scene in scenes(30):
        sentence = describe(scene)
        assert scene.subject.kind in sentence and PLACES[scene.place] in sentence and scene.subject.words in sentence


def test_the_tokenizer_keeps_to_the_protocol():
    tokenizer, protocol = build_tokenizer(), MINIATURE.protocol
    names = control_tokens()
    assert len(names) == protocol.first_text
    assert tokenizer.token_to_id("IMGIMGAZ") == protocol.code_base and tokenizer.token_to_id("IMGIMGBACDZ") == protocol.code_base + 1023
    assert protocol.identifier_base + protocol.identifiers <= protocol.first_text and protocol.identifiers >= 64
    assert tokenizer.get_vocab_size() <= decoder_training.CONFIG.vocab_size
    text = TextTokenizer(tokenizer, protocol)
    assert tokenizer.decode(text.encode("Dog ü 狗")) == "Dog ü 狗"
    assert all(len(text.encode(f" {word}")) == 1 for word in (*CLASSES, *COLOURS))
    assert {"dog", "wearing", "carpet"} <= set(known_words())


def test_unseen_subjects_are_unseen():
    assert len(SUBJECTS) >= 6
    for name in SUBJECTS:
        pictures = [image.tobytes() for image, _ in photos_of(name, 5, 32)]
        assert len(set(pictures)) == 5


# ---------------------------------------------------------------- trainings


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(vq_training, "BATCH", 2)
    monkeypatch.setattr(vq_training, "CONFIG", vq_training.ImageTokenizerConfig(8, (1, 2), 1, 8, 4, 256, 4, 2))
    monkeypatch.setattr(decoder_training, "BATCH", 2)
    values = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    monkeypatch.setattr(decoder_training, "CONFIG", TransformerConfig(1616, **values, head_first=4, head_size=1024))


def decode_steps(folder, steps, stop=None):
    codes = np.random.RandomState(0).randint(0, 1024, (4, 16, 16)).astype(np.uint16)
    batches = decoder_training.Batches(codes, TextTokenizer(build_tokenizer(), MINIATURE.protocol), 0)

    def until(step):
        if step == stop:
            raise KeyboardInterrupt
        return batches(step)

    decoder_training.train(folder, until, steps, **SILENT)


def test_the_decoders_training_goes_on_as_if_it_had_never_stopped(small, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_training, "falls_at", lambda steps: steps - 2)
    decode_steps(tmp_path / "whole", 5)
    with pytest.raises(KeyboardInterrupt):
        decode_steps(tmp_path / "parts", 5, stop=4)  # past the plateau, whose state was kept at step 3
    assert progress(tmp_path / "parts" / "decoder_plateau.safetensors") == (3, 5)
    decode_steps(tmp_path / "parts", 5)
    whole, parts = (trained_weights(tmp_path / name / "decoder_training.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_longer_training_starts_from_before_the_rate_fell(small, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_training, "falls_at", lambda steps: steps - 2)
    decode_steps(tmp_path / "longer", 4)
    decode_steps(tmp_path / "longer", 6)
    decode_steps(tmp_path / "once", 6)
    longer, once = (trained_weights(tmp_path / name / "decoder_training.safetensors") for name in ("longer", "once"))
    assert all(torch.equal(longer[k], once[k]) for k in longer)


def test_the_image_tokenizers_training_fills_its_codebook_and_exports(small, tmp_path, monkeypatch):
    from ar_core.miniature import export as exporting

    monkeypatch.setattr(exporting, "VQ", vq_training.CONFIG)
    monkeypatch.setattr(exporting, "DECODER", decoder_training.CONFIG)
    monkeypatch.setattr(vq_training, "UNQUANTISED", 0.3)
    vq_training.train(tmp_path, 20, **SILENT)
    decode_steps(tmp_path, 1)
    export(tmp_path, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", "vqgan.safetensors"}
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["lm_head.weight"].shape == (1616, 16) and weights["lm_head.weight"][1028:].abs().sum() == 0
    assert weights["lm_head.weight"].dtype == torch.float16


def test_the_codebook_follows_its_vectors_and_revives_dead_rows():
    rows = torch.nn.Parameter(torch.zeros(2, 1))
    codebook = vq_training.MovingAverageCodebook(rows, decay=0.5)
    codebook.counts.fill_(1)
    codebook.update(torch.tensor([[4.0], [4.0]]), torch.tensor([0, 0]))
    assert rows[0].item() == pytest.approx(4 / 1.5 * 1.0) and rows[1].item() == 0
    for _ in range(5):
        codebook.update(torch.tensor([[4.0], [4.0]]), torch.tensor([0, 0]))
    assert rows[1].item() == 4  # nobody used row 1: it was moved onto a current vector


# ---------------------------------------------------------------- evaluation


def test_the_judges_learn(tmp_path):
    losses = []
    judges.train(tmp_path, 1, log=losses.append)
    judge = judges.AttributeJudge()
    pictures, labels = (torch.stack(part) for part in zip(*[judges.AttributeLessons(0, 32, 0)[i] for i in range(32)]))
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    before = judge.loss(pictures, labels).item()
    for _ in range(12):
        optimizer.zero_grad()
        judge.loss(pictures, labels).backward()
        optimizer.step()
    assert judge.loss(pictures, labels).item() < 0.7 * before
    assert len(losses) == 2


def test_intervals():
    assert evaluate.wilson(8, 10) == [0.8, 0.4902, 0.9433]  # Wilson's interval, by hand
    assert evaluate.wilson(0, 10)[1] == 0
    mean, low, high = evaluate.mean_interval([1.0, 2.0, 3.0])
    assert mean == 2 and 1 <= low < 2 < high <= 3
    assert evaluate.mean_interval([5.0, 5.0]) == [5, 5, 5]


def test_accuracies_count_all_three_together():
    truth = [{"class": "dog", "colour": "red", "place": "beach"}] * 4
    seen = [*truth[:2], {**truth[0], "colour": "blue"}, {**truth[0], "place": "snow"}]
    table = evaluate.accuracies(truth, seen)
    assert table["class"][0] == 1 and table["colour"][0] == 0.75 and table["class & colour & place"][0] == 0.5
