"""The miniature's own DreamBench and scorers: what they are made of, what they tell apart, what the page says."""

from __future__ import annotations

import json
import random
import re

import pytest
import torch
from PIL import Image

from ar_core import cli
from ar_core.dreambench.comparisons import compare
from ar_core.dreambench.dataset import ACCESSORY, PLACE, PROPERTY, read_dataset
from ar_core.dreambench.encoders import MINIATURE_ENCODERS, MINIATURE_SCORERS, SCORER_INPUT, Encoders
from ar_core.dreambench.scoring import ScoredPicture, SubjectScores
from ar_core.dreambench.suites import drawn_suite
from ar_core.model import MINIATURE_FOLDER
from workshop.evaluation import bench_page, claims, single_photo
from workshop.evaluation.questions import questions_about
from workshop.making import scorer_training
from workshop.making.alike_scenes import alike_pairs, alike_singles
from workshop.making.lessons import captioned_pair
from workshop.making.scorers import BATCH, PairScorer, learn_tokenizer
from workshop.making.sentences import is_true, known_of, partial_statement, sentence_of
from workshop.making.siblings import any_subject
from workshop.world import bench_data
from workshop.world.drawing import draw_scene
from workshop.world.pairs import pair_scene
from workshop.world.random_scenes import random_scene
from workshop.world.subjects import SUBJECTS
from workshop.world.vocabulary import FIGURES, PLACES

# ---------------------------------------------------------------- data set


def test_the_shipped_data_set_is_what_the_workshop_draws(tmp_path):
    """Pixel for pixel, and read like the real one. The first edition's eight ship until the pictures are redrawn."""
    bench_data.draw_data_set(tmp_path)
    shipped = drawn_suite().read()
    drawn = read_dataset(tmp_path, drawn_suite().live_classes)
    assert [subject.name for subject in drawn.subjects] == list(SUBJECTS)
    assert len(shipped.subjects) >= 8
    for ours in shipped.subjects:
        theirs = drawn.subject(ours.name)
        assert (ours.name, ours.class_name, ours.live) == (theirs.name, theirs.class_name, theirs.live)
        for one, other in zip(ours.photos, theirs.photos, strict=True):
            assert one.name == other.name and Image.open(one).tobytes() == Image.open(other).tobytes()
    assert shipped.object_prompts == drawn.object_prompts and shipped.live_prompts == drawn.live_prompts
    assert not shipped.problems


def test_figures_and_objects_have_their_own_prompts():
    data = drawn_suite().read()
    mug = data.subject("purple_mug")
    cat = data.subject("cream_cat")
    assert (mug.class_name, len(mug.photos), mug.live) == ("mug", 5, False) and cat.live
    assert [prompt.capability for prompt in data.prompts(cat)][-3:] == [ACCESSORY, PROPERTY, PROPERTY]
    assert [prompt.capability for prompt in data.prompts(mug)][-3:] == [PLACE, PROPERTY, PROPERTY]


def test_the_whole_list_is_large_enough_and_in_words_the_miniature_knows():
    data = drawn_suite().read()
    assert len(data.subjects) >= 8 and len(data.object_prompts) == len(data.live_prompts) == 10
    known = set(json.loads((MINIATURE_FOLDER / "config.json").read_text(encoding="utf-8"))["known_words"])
    for prompt in (*data.object_prompts, *data.live_prompts):
        assert set(re.findall("[a-z]+", prompt.template)) <= known, prompt
    assert {subject.kind for subject in SUBJECTS.values() if subject.kind in FIGURES} <= set(drawn_suite().live_classes)


# ---------------------------------------------------------------- scorers


def test_a_caption_that_is_true_of_another_picture_is_no_negative():
    pictures, ids, mask, true = PairScorer(learn_tokenizer()).lesson(0, 0)
    assert pictures.shape == (BATCH, 3, 64, 64) and ids.shape == mask.shape and bool(true.diagonal().all())
    assert 0 < int((true & ~torch.eye(BATCH, dtype=torch.bool)).sum()) < BATCH * BATCH // 4


def test_a_sentence_says_its_statement_and_no_more():
    rng = random.Random(1)
    for _ in range(20):
        for scene in (*alike_singles(rng), *alike_pairs(rng)):
            statement = partial_statement(rng, scene)
            sentence = sentence_of(rng, statement)
            assert is_true(statement, known_of(scene))
            assert all(said["class"] in sentence for said in statement.subjects)
            assert bool(statement.place) == (PLACES[scene.place] in sentence)
            assert sum("worn" in said for said in statement.subjects) == sentence.count("wearing")
            assert statement.ordered == ("to the left of" in sentence or "to the right of" in sentence)


def test_of_two_subjects_that_changed_sides_only_sentences_without_positions_stay_true():
    rng = random.Random(2)
    kept: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(60):
        first, exchanged = alike_pairs(rng)[:2]
        statement = partial_statement(rng, first)
        kept[statement.ordered].append(is_true(statement, known_of(exchanged)))
    assert all(kept[False])
    assert sum(kept[True]) <= len(kept[True]) / 4  # "a mug to the left of a mug"


def test_a_pair_is_asked_who_stands_left():
    scene = pair_scene(random.Random(0), captioned_pair(random.Random(0)))
    sentences, right = questions_about(scene)["sides"]
    left = min(scene.placed, key=lambda placed: placed.x).subject
    assert left.kind in sentences[right].split(" to the left of ")[0] and len(set(sentences)) == 2


def test_an_input_is_scaled_as_the_scorers_were_trained():
    picture = draw_scene(random_scene(random.Random(0)), 96)
    assert torch.allclose(SCORER_INPUT([picture])[0], SCORER_INPUT.pixels(picture) * 2 - 1, atol=1e-6)


@pytest.fixture(scope="module")
def scorers():
    return Encoders.load(MINIATURE_ENCODERS)


def test_the_shipped_scorers_know_a_subject_from_a_copied_backdrop(scorers):
    rng, right = random.Random("test subjects"), 0
    for _ in range(40):
        someone = any_subject(rng)
        here, there = rng.sample(list(PLACES), 2)
        scenes = (
            random_scene(rng, someone, here),
            random_scene(rng, someone, there),
            random_scene(rng, any_subject(rng, someone.kind), here),
        )
        picture, same, other = scorers.embed_images([draw_scene(scene, 96) for scene in scenes])[0]
        right += float(picture @ same) > float(picture @ other)
    assert right >= 36  # chance 20


def test_the_shipped_scorers_read_places_colours_and_classes(scorers):
    rng, found = random.Random("test sentences"), {}
    for _ in range(40):
        scene = random_scene(rng, held_out=True)
        picture = scorers.embed_images([draw_scene(scene, 96)])[1][0]
        for name, (sentences, right) in questions_about(scene).items():
            found.setdefault(name, []).append(int((scorers.embed_texts(sentences) @ picture).argmax()) == right)
    rates = {name: sum(hits) / len(hits) for name, hits in found.items()}
    assert min(rates["class"], rates["place"], rates["colour"]) >= 0.8, rates  # chance 1/12


@pytest.mark.parametrize("folder", [MINIATURE_FOLDER, MINIATURE_SCORERS / "pairs"])
def test_the_shipped_tokenizers_are_written_as_the_oldest_libraries_read_them(folder):
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    assert all(isinstance(merge, str) for merge in json.loads(text)["model"]["merges"])


def test_the_scorers_tokenizer_is_exported_in_the_format_of_the_shipped_one(tmp_path):
    scorer_training.export_scorers({"pairs": PairScorer(learn_tokenizer())}, tmp_path)
    exported = json.loads((tmp_path / "pairs" / "tokenizer.json").read_text(encoding="utf-8"))
    shipped = json.loads((MINIATURE_SCORERS / "pairs" / "tokenizer.json").read_text(encoding="utf-8"))
    assert exported["pre_tokenizer"] == shipped["pre_tokenizer"] and isinstance(exported["model"]["merges"][0], str)


def test_all_weights_stay_small():
    files = [path for folder in (MINIATURE_FOLDER, MINIATURE_SCORERS) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25e6


# ---------------------------------------------------------------- page


def scores(name: str, value: float) -> SubjectScores:
    pictures = tuple(
        ScoredPicture(name, "a mug", f"x/{name}/{seed}.png", "", (value + seed / 10,) * 3, 0.0, False, seed)
        for seed in (0, 1)
    )
    return SubjectScores(
        name, MINIATURE_ENCODERS.measures, pictures, {"mini-ID": 0.9, "mini-CLIP-I": 0.9}, 0.0, float("nan")
    )


@pytest.mark.parametrize(
    "two_stage, joint, said",
    [
        ((0.6, 0.7, 0.6, 0.8, 0.7), (0.5, 0.6, 0.4, 0.6, 0.6), "**agrees**"),
        ((0.5, 0.6, 0.4, 0.6, 0.6), (0.6, 0.7, 0.6, 0.8, 0.7), "**disagrees**"),
        ((0.5, 0.7, 0.6, 0.8, 0.7), (0.7, 0.5, 0.6, 0.7, 0.8), "not separable"),
        ((0.6, 0.7), (0.1, 0.2), "not separable"),  # two subjects say nothing, however far apart
    ],
)
def test_a_claim_is_judged_by_its_test(two_stage, joint, said):
    scored = {
        way: [scores(name, value) for name, value in zip("abcde", values, strict=False)]
        for way, values in (("two_stage", two_stage), ("joint", joint))
    }
    claim = claims.answerable_claims(scored)[0]
    comparison = claims.comparison_of(scored, claim)
    assert (claim.more, claim.less, comparison.measure) == ("two_stage", "joint", "mini-ID")
    assert claims.verdict_on_claim(compare(scored, [comparison], comparison)[comparison]) == said
    assert len(claims.answerable_claims(scored)) == 2  # the others need ways that were not run


def test_seeds_spread():
    assert (
        bench_page.seeds_section({"joint": [scores("a", 0.5)]})[-2] == f"| joint | {' | '.join(['0.071'] * 3)} |"
    )  # of 0.5 and 0.6


def test_what_falls_late_is_seen():
    steady, early = (
        single_photo.fall_of_losses([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]),
        single_photo.fall_of_losses([6.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    )
    assert (steady.first, steady.middle, steady.last) == (6, 3, 1) and (early.middle, early.last) == (1, 1)


def test_a_folder_of_pictures_is_scored_with_the_shipped_data_set(tmp_path, capsys):
    (tmp_path / "made" / "purple_mug").mkdir(parents=True)
    picture = draw_scene(random_scene(random.Random(0), SUBJECTS["purple_mug"], "jungle"), 96)
    picture.save(tmp_path / "made" / "purple_mug" / "a_mug_in_the_jungle__0.png")
    options = ["score", "--images", str(tmp_path / "made"), "--data", "miniature", "--out", str(tmp_path / "scores")]
    assert cli.main(options) == 0
    assert "mini-ID" in capsys.readouterr().out
    found = json.loads((tmp_path / "scores" / "scores.json").read_text(encoding="utf-8"))
    assert found["subjects"]["purple_mug"]["pictures"][0]["capability"] == PLACE


def test_one_command_makes_the_page(tmp_path, capsys):
    page = tmp_path / "page" / "miniature.md"
    options = [
        "--embedding-steps",
        "1",
        "--layer-steps",
        "1",
        "--strategies",
        "two_stage,joint_reverted,base",
        "--seeds",
        "0",
        "--subjects",
        "purple_mug,cream_cat",
    ]
    bench_page.main(["--out", str(tmp_path / "out"), "--page", str(page), *options])
    text = page.read_text(encoding="utf-8")
    assert "two_stage 1 + 1" in text and "| base |" in text and "mini-ID" in text and "published: " not in text
    found = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert set(found["variants"]) == {"two_stage", "joint_reverted", "base"} and set(found["single photo"]) == {
        "purple_mug",
        "cream_cat",
    }
    pictures = re.findall(r"\]\((.+?)\)", text)
    assert len(pictures) == 3 and all((page.parent / name).is_file() for name in pictures)
