"""The miniature's world, and the training of its scorers at a thousandth of its size."""

import functools
import random
import shutil

import numpy as np
import pytest
import torch

from ar_core.families.miniature import MINIATURE
from ar_core.text import NEUTRAL_TEMPLATES, TextTokenizer
from workshop.making import lesson_training, scorer_training, scorers
from workshop.making.plans import TRANSFORMER
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
    assert protocol.code_base == TRANSFORMER.head_first and protocol.identifiers >= 64
    assert tokenizer.get_vocab_size() <= TRANSFORMER.vocab_size
    assert tokenizer.decode(protocol.encode("Dog ü 狗")) == "Dog ü 狗"
    assert all(len(protocol.encode(f" {word}")) == 1 for word in (*CLASSES, *COLOURS))
    assert {"dog", "wearing", "carpet", "left", "right", "next"} <= set(known_words())


def test_unseen_subjects_are_unseen():
    assert len(SUBJECTS) >= 6
    for name in SUBJECTS:
        pictures = [image.tobytes() for image, _ in drawn_photos(name, 5, 32)]
        assert len(set(pictures)) == 5


# ---------------------------------------------------------------- scorers


def test_the_pair_scorers_training_goes_on_with_its_own_tokenizer(tmp_path, monkeypatch):
    """Learned anew, the tokenizer may number its tokens in another way."""
    monkeypatch.setattr(scorers, "BATCH", 8)
    monkeypatch.setattr(lesson_training, "warm_up_and_fall", lambda *_: 1.0)  # else a shorter training differs

    def trained(folder, steps):
        return scorer_training.train_scorer("pairs", tmp_path / folder, scorer_training.scorer_course(steps), **SILENT)

    trained("parts", 1)
    (tmp_path / "whole").mkdir()
    shutil.copy(tmp_path / "parts" / "pairs_tokenizer.json", tmp_path / "whole")
    parts = trained("parts", 2).state_dict()
    whole = trained("whole", 2).state_dict()
    assert all(torch.equal(whole[name], value) for name, value in parts.items())
