"""The miniature's own DreamBench and scorers: what they are made of, what they tell apart, what the page says."""

from __future__ import annotations

import json
import random
import re

import pytest
import torch

from ar_core import cli
from ar_core.dreambench.dataset import ACCESSORY, PLACE, PROPERTY
from ar_core.dreambench.encoders import MINIATURE, MINIATURE_SCORERS, SCORER_INPUT, Encoders
from ar_core.dreambench.scoring import ScoredPicture, SubjectScores
from ar_core.model import MINIATURE_FOLDER
from workshop.evaluation import bench_page, single_photo
from workshop.evaluation.judges import anyone
from workshop.evaluation.scorer_check import questions
from workshop.making.scorer_training import BATCH, PairScorer, alike, build_tokenizer, caption
from workshop.world import bench_data
from workshop.world.drawing import draw
from workshop.world.scenes import FIGURES, PLACES, random_scene


@pytest.fixture
def small(monkeypatch):
    """Two subjects, three prompts."""
    monkeypatch.setattr(
        bench_data, "SUBJECTS", {name: bench_data.SUBJECTS[name] for name in ("purple_mug", "cream_cat")}
    )
    monkeypatch.setattr(bench_data, "OBJECT_PROMPTS", bench_data.OBJECT_PROMPTS[-3:])
    monkeypatch.setattr(bench_data, "LIVE_PROMPTS", bench_data.LIVE_PROMPTS[-3:])


# ---------------------------------------------------------------- data set


def test_the_drawn_data_set_is_read_like_the_real_one(small, tmp_path):
    data = bench_data.drawn_dataset(tmp_path / "data")
    mug, cat = data.subjects
    assert (mug.name, mug.class_name, len(mug.photos), mug.live) == ("purple_mug", "mug", 5, False) and cat.live
    assert [p.capability for p in data.prompts(cat)] == [ACCESSORY, PROPERTY, PROPERTY]
    assert [p.capability for p in data.prompts(mug)] == [PLACE, PROPERTY, PROPERTY]
    photo = mug.photos[0].read_bytes()
    mug.photos[0].unlink()
    assert (
        bench_data.drawn_dataset(tmp_path / "data").subjects[0].photos[0].read_bytes() == photo
    )  # drawn again, the same


def test_the_whole_list_is_large_enough_and_in_words_the_miniature_knows():
    assert len(bench_data.SUBJECTS) >= 8 and len(bench_data.OBJECT_PROMPTS) == len(bench_data.LIVE_PROMPTS) == 10
    known = set(json.loads((MINIATURE_FOLDER / "config.json").read_text(encoding="utf-8"))["known_words"])
    for prompt in (*bench_data.OBJECT_PROMPTS, *bench_data.LIVE_PROMPTS):
        assert set(re.findall("[a-z]+", prompt)) <= known, prompt
    assert any(subject.kind in FIGURES for subject in bench_data.SUBJECTS.values())


# ---------------------------------------------------------------- scorers


def test_a_caption_that_is_true_of_another_picture_is_no_negative():
    scorer = PairScorer.__new__(PairScorer)
    scorer.__dict__["tokenizer"] = build_tokenizer()
    pictures, ids, mask, true = PairScorer.lesson(scorer, 0, 0)
    assert pictures.shape == (BATCH, 3, 64, 64) and ids.shape == mask.shape and bool(true.diagonal().all())
    assert 0 < int((true & ~torch.eye(BATCH, dtype=torch.bool)).sum()) < BATCH * BATCH // 4
    rng = random.Random(1)
    for scene in alike(rng):
        sentence, facts = caption(rng, scene)
        assert facts["class"] == scene.subject.kind and scene.subject.kind in sentence
        assert ("place" in facts) == (PLACES[scene.place] in sentence)
        assert ("accessory" in facts) == ("wearing" in sentence)


def test_an_input_is_scaled_as_the_scorers_were_trained():
    picture = draw(random_scene(random.Random(0)), 96)
    assert torch.allclose(SCORER_INPUT([picture])[0], SCORER_INPUT.pixels(picture) * 2 - 1, atol=1e-6)


@pytest.fixture(scope="module")
def scorers():
    return Encoders.load(MINIATURE)


def test_the_shipped_scorers_know_a_subject_from_a_copied_backdrop(scorers):
    rng, right = random.Random("test subjects"), 0
    for _ in range(40):
        someone = anyone(rng)
        here, there = rng.sample(list(PLACES), 2)
        scenes = (
            random_scene(rng, someone, here),
            random_scene(rng, someone, there),
            random_scene(rng, anyone(rng, someone.kind), here),
        )
        picture, same, other = scorers.look([draw(scene, 96) for scene in scenes])[0]
        right += float(picture @ same) > float(picture @ other)
    assert right >= 36  # chance 20


def test_the_shipped_scorers_read_places_colours_and_classes(scorers):
    rng, found = random.Random("test sentences"), {}
    for _ in range(40):
        scene = random_scene(rng, held_out=True)
        picture = scorers.look([draw(scene, 96)])[1][0]
        for name, (sentences, right) in questions(scene).items():
            found.setdefault(name, []).append(int((scorers.read(sentences) @ picture).argmax()) == right)
    rates = {name: sum(hits) / len(hits) for name, hits in found.items()}
    assert min(rates["class"], rates["place"], rates["colour"]) >= 0.8, rates  # chance 1/12


def test_all_weights_stay_small():
    files = [path for folder in (MINIATURE_FOLDER, MINIATURE_SCORERS) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25e6


# ---------------------------------------------------------------- page


def scores(name: str, value: float) -> SubjectScores:
    pictures = tuple(
        ScoredPicture(name, "a mug", f"x/{name}/00_{seed}_00.png", "", (value + seed / 10,) * 3, 0.0, False)
        for seed in (0, 1)
    )
    return SubjectScores(name, MINIATURE.measures, pictures, {"mini-ID": 0.9, "mini-CLIP-I": 0.9}, 0.0, float("nan"))


@pytest.mark.parametrize(
    "two_stage, joint, said",
    [
        ((0.6, 0.8), (0.5, 0.7), "**agrees**"),
        ((0.5, 0.6), (0.6, 0.9), "**disagrees**"),
        ((0.5, 0.7), (0.7, 0.5), "not separable"),
    ],
)
def test_a_claim_is_judged_by_its_interval(two_stage, joint, said):
    scored = {way: [scores("a", v[0]), scores("b", v[1])] for way, v in (("two_stage", two_stage), ("joint", joint))}
    claim = bench_page.answerable(scored)[0]
    assert (claim.more, claim.less) == ("two_stage", "joint") and bench_page.verdict(scored, claim) == said
    assert len(bench_page.answerable(scored)) == 2  # the others need ways that were not run


def test_seeds_spread():
    assert (
        bench_page.between_seeds({"joint": [scores("a", 0.5)]})[-1] == f"| joint | {' | '.join(['0.071'] * 3)} |"
    )  # of 0.5 and 0.6


def test_what_falls_late_is_seen():
    steady, early = single_photo.fall([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), single_photo.fall([6.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert (steady.first, steady.middle, steady.last) == (6, 3, 1) and (early.middle, early.last) == (1, 1)


def test_drawings_that_are_not_there_name_the_command_that_makes_them(tmp_path, capsys):
    assert cli.main(["dreambench", "--data", "miniature", "--out", str(tmp_path), "--dry-run"]) == 1
    assert f"python -m workshop.world.bench_data --out {tmp_path / 'data'}" in capsys.readouterr().err


def test_one_command_makes_the_page(small, tmp_path, capsys):
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
    ]
    bench_page.main(["--out", str(tmp_path / "out"), "--page", str(page), *options])
    text = page.read_text(encoding="utf-8")
    assert "two_stage 1 + 1" in text and "| base |" in text and "mini-ID" in text and "published: " not in text
    found = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert set(found["ways"]) == {"two_stage", "joint_reverted", "base"} and set(found["single photo"]) == {
        "purple_mug",
        "cream_cat",
    }
    pictures = re.findall(r"\]\((.+?)\)", text)
    assert len(pictures) == 3 and all((page.parent / name).is_file() for name in pictures)
