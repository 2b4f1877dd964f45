"""The miniature's judges and its evaluation: what they learn from, what they count, what is kept."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ar_core.families.miniature import MINIATURE
from ar_core.model import MINIATURE_FOLDER
from workshop.evaluation import accuracies, curve, evaluate, evaluation, intervals, judge_training, judges, summaries
from workshop.evaluation.card_differences import mean_difference
from workshop.evaluation.curve_picture import curve_picture
from workshop.evaluation.effort import Effort
from workshop.evaluation.galleries import is_nearest_to_first
from workshop.evaluation.pictures import SIBLINGS, distractors
from workshop.evaluation.setup import set_up
from workshop.making import lessons
from workshop.making.facts import ATTRIBUTES, LEFT, RIGHT, side_attributes
from workshop.making.lessons_ahead import lessons_ahead
from workshop.making.siblings import sibling
from workshop.world.drawing import draw_scene
from workshop.world.pairs import pair_scene
from workshop.world.random_scenes import random_scene
from workshop.world.reserved import resembles, resembles_unseen
from workshop.world.subjects import SUBJECTS

SILENT = {"log": lambda message: None}


# ---------------------------------------------------------------- lessons and judges


@pytest.mark.parametrize(
    "judge, lesson, side",
    [
        (judges.AttributeJudge, lessons.attribute_lesson, 96),
        (judges.IdentityJudge, lessons.identity_lesson, 64),
        (judges.PairJudge, lessons.pair_lesson, 96),
    ],
)
def test_the_judges_learn(judge, lesson, side, monkeypatch):
    monkeypatch.setattr(lessons, "BATCH", 16)
    torch.manual_seed(0)
    judge = judge()
    lesson = lesson(0, 0)
    pictures = lesson[0]
    assert 200_000 < sum(parameter.numel() for parameter in judge.parameters()) < 400_000
    assert pictures.shape == (16, 3, side, side) and pictures.min() >= 0 and pictures.max() <= 1
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = judge.loss(*lesson)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_the_judges_training_goes_on_as_if_it_had_never_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "BATCH", 8)
    whole = judge_training.train_judges(tmp_path / "whole", judge_training.judge_course(3), **SILENT)
    judge_training.train_judges(tmp_path / "parts", judge_training.judge_course(2), **SILENT)
    parts = judge_training.train_judges(tmp_path / "parts", judge_training.judge_course(3), **SILENT)
    assert whole.digest == parts.digest


def test_lessons_are_the_same_whoever_makes_them():
    with lessons_ahead(lessons.identity_lesson, 3, workers=2) as take:
        made = [take(step) for step in (5, 6, 9)]
    for step, (pictures,) in zip((5, 6, 9), made, strict=True):
        assert torch.equal(pictures, lessons.identity_lesson(step, 3)[0])


def test_an_identity_lesson_shows_pairs_of_few_classes_at_two_places(monkeypatch):
    drawn = []
    monkeypatch.setattr(lessons, "draw_scene", lambda scene, size: drawn.append(scene) or draw_scene(scene, size))
    lessons.identity_lesson(0, 0)
    assert len({scene.subject.kind for scene in drawn}) == lessons.KINDS_AT_ONCE
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    for one, other in pairs:
        assert one.place != other.place
        assert replace(one.subject, accessory="") == replace(other.subject, accessory="")
    assert any(one.subject != other.subject for one, other in pairs)  # an accessory came off
    builds = [one.subject.build for one, _ in pairs]
    assert len(set(builds)) < len(builds)  # siblings are built alike


def test_what_a_free_subject_has_no_word_for_is_not_asked():
    _, labels = lessons.attribute_lesson(0, 0)
    by_name = {name: labels[:, index] for index, name in enumerate(ATTRIBUTES)}
    free = by_name["colour"] == lessons.UNKNOWN
    assert 0.2 < free.float().mean() < 0.6
    assert (by_name["marking"] >= 0).all() and (by_name["place"] >= 0).all() and (by_name["class"] >= 0).all()
    textured = by_name["pattern"] == lessons.UNKNOWN
    assert textured.any() and not (textured & ~free).any()
    marked = by_name["marking"] > 0
    assert (marked & free).any() and (marked & ~free).any()


def test_a_judge_of_nothing_but_unknowns_has_no_loss():
    logits = {"class": torch.zeros(2, 3)}
    labels = torch.full((2, 1), lessons.UNKNOWN)
    assert judges.labels_loss(logits, labels) == 0


def test_siblings_differ_in_skin_or_marking_alone():
    rng = random.Random(0)
    for subject in SUBJECTS.values():
        for other in distractors(rng, subject)[-SIBLINGS:]:
            assert (other.kind, other.colour, other.build) == (subject.kind, subject.colour, subject.build)
            assert not resembles(subject, other) and not resembles_unseen(other)
    starred = [sibling(rng, SUBJECTS["lilac_dog"]) for _ in range(30)]
    assert {other.marking for other in starred} > {"", "star"}


def test_the_sides_of_a_scene_are_seen_as_they_stand():
    rng = random.Random(0)
    for _ in range(10):
        scene = pair_scene(rng, lessons.captioned_pair(rng))
        left = min(scene.placed, key=lambda placed: placed.x).subject
        assert side_attributes(scene)[LEFT]["class"] == left.kind
    assert side_attributes(random_scene(rng)) == {LEFT: {"class": ""}, RIGHT: {"class": ""}}


def test_the_pair_judge_looks_at_each_side_by_itself():
    torch.manual_seed(0)
    judge = judges.PairJudge().eval()
    picture = torch.rand(1, 3, 96, 96)
    other = picture.clone()
    other[..., 60:] = 0
    first, second = judge(picture), judge(other)
    assert torch.equal(first[LEFT]["class"], second[LEFT]["class"])
    assert not torch.equal(first[RIGHT]["class"], second[RIGHT]["class"])


# ---------------------------------------------------------------- counting


def test_accuracies_count_all_three_together():
    right = {"class": "dog", "colour": "red", "pattern": "plain", "place": "beach", "accessory": ""}
    seen = [right, right, {**right, "colour": "blue"}, {**right, "place": "snow"}]
    table = accuracies.judged_accuracies([right] * 4, seen)
    assert table["class"][0] == 1 and table["colour"][0] == 0.75 and table["class & colour & place"][0] == 0.5


def pair(left, right):
    """Sides of "red mug" and the like."""
    sides = {}
    for side, words in ((LEFT, left), (RIGHT, right)):
        colour, kind = words.split(" ")
        sides[side] = {"class": kind, "colour": colour, "pattern": "plain"}
    return sides


@pytest.mark.parametrize(
    "left, right, rates",
    [
        ("red mug", "blue cat", {"pair right": 1, "classes": 1, "classes & colours": 1, "sides": 1}),
        ("blue cat", "red mug", {"pair right": 0, "classes": 1, "classes & colours": 1, "sides": 0}),
        ("blue mug", "red cat", {"pair right": 0, "classes": 1, "classes & colours": 0, "sides": 0}),
        ("red mug", "blue dog", {"pair right": 0, "classes": 0, "classes & colours": 0, "sides": 1}),
        ("grey ", "grey ", {"pair right": 0, "classes": 0, "classes & colours": 0, "sides": 0}),
    ],
)
def test_what_is_right_about_a_pair(left, right, rates):
    found = accuracies.pair_accuracies([pair("red mug", "blue cat")], [pair(left, right)])
    assert {name: found[name][0] for name in rates} == rates


def test_the_nearest_subject_is_the_one_retrieved():
    judge = SimpleNamespace(vectors=lambda pictures: torch.tensor([[1.0, 0.0]]))
    own, other = torch.tensor([[0.6, 0.8], [1.0, 0.0]]), torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    assert is_nearest_to_first(judge, None, [own, other]) and not is_nearest_to_first(judge, None, [other, own])


def values(identity, **more):
    return {"identity": identity, **more}


def test_a_summary_weighs_subjects_equally():
    table = summaries.summarize_pictures(
        {
            "purple_mug": {0: [values(1.0), values(0.0)]},
            "lilac_dog": {0: [values(0.0, mark=1.0)], 1: [values(0.0, mark=1.0)], 2: [values(0.0, mark=0.0)]},
        }
    )
    assert table["subjects"]["purple_mug"] == {"identity": 0.5}
    assert table["subjects"]["lilac_dog"] == {"identity": 0, "mark": 0.6667}
    assert table["in range"]["identity"] == [0.5] and table["out of range"]["mark"][0] == 0.6667
    assert table["all"]["identity"] == [0.25] and "mark" not in table["in range"]
    assert set(table["seeds"]) == {"lilac_dog"}


def test_the_spread_between_seeds_is_of_means_over_subjects():
    seeds = {
        "a": {"0": values(0.2), "1": values(0.6)},
        "b": {"0": values(0.4, mark=1.0), "1": values(0.4, mark=1.0)},
    }  # means 0.3 and 0.5
    spread = summaries.spread_between_seeds(seeds)
    assert spread["identity"] == pytest.approx(0.1414, abs=1e-4) and spread["mark"] == 0


def test_only_the_subjects_of_the_spread_have_every_seed():
    effort = Effort(spread=("lilac_dog",), seeds=(0, 1, 2))
    assert effort.seeds_of("lilac_dog") == (0, 1, 2) and effort.seeds_of("purple_mug") == (0,)
    assert effort.guidances_with(2.0) == [2.0, 3.0, 4.0] and 1.5 in effort.guidances_with(1.5)


def test_intervals():
    assert intervals.wilson_interval(8, 10) == [0.8, 0.4902, 0.9433]  # Wilson's interval, by hand
    assert intervals.wilson_interval(0, 10)[1] == 0
    assert intervals.mean_interval([1.0, 2.0, 3.0] * 2) == [2, 1.0614, 2.9386]  # t(5) 2.5706 x 0.8944 / sqrt(6)
    assert intervals.mean_interval([5.0, 5.0]) == [5]
    assert intervals.interval_text([0.5]) == "0.50 (–)" and intervals.difference_text([0.5]) == "+0.50 (–)"


def test_differences():
    one, other = intervals.wilson_interval(56, 70), intervals.wilson_interval(48, 80)
    assert intervals.difference_of_proportions(one, other) == pytest.approx([0.2, 0.0524, 0.3339], abs=1e-4)
    assert intervals.difference_text([0.1, -0.05, 0.33]) == "+0.10 (-0.05 to +0.33)"
    newer = {"a": values(1.0), "b": values(0.5)}
    older = {"a": values(0.5), "b": values(0.0)}
    assert mean_difference(newer, older, ["a", "b"], "identity") == [0.5]
    assert mean_difference(newer, older, ["a", "b"], "mark") is None


def test_a_row_that_lacks_a_column_stays_empty_there():
    rows = {"one": {"a": [1.0, 1.0, 1.0]}, "other": {"b": [0.5, 0.4, 0.6]}}
    assert intervals.interval_table(rows)[2:] == ["| one | 1.00 (1.00–1.00) | – |", "| other | – | 0.50 (0.40–0.60) |"]


# ---------------------------------------------------------------- keeping


def setup_of(folder, **effort):
    model = SimpleNamespace(transformer=torch.nn.Linear(1, 1), image_tokenizer=torch.nn.Linear(1, 1), family=MINIATURE)
    for part in (model.transformer, model.image_tokenizer):
        torch.nn.init.zeros_(part.weight), torch.nn.init.zeros_(part.bias)
    judge = SimpleNamespace(digest="judges")
    return set_up(model, judge, SimpleNamespace(names={}), Effort(**effort), folder, folder / "sheets", **SILENT)


def test_a_part_is_measured_again_only_when_something_else_is_asked(tmp_path, monkeypatch):
    measured = []

    def reconstruction(setup):
        measured.append(1)
        return {"number": len(measured)}

    monkeypatch.setitem(evaluation.PARTS, "reconstruction", reconstruction)

    def number(**effort):
        return evaluation.measure_part(setup_of(tmp_path, **effort), "reconstruction")["number"]

    assert number() == number() == number(seeds=(0,)) == 1
    assert number(images=7) == 2
    assert setup_of(tmp_path).folder != setup_of(tmp_path, training={"layer_steps": 1}).folder
    kept = setup_of(tmp_path, subjects=("purple_mug",))
    assert evaluation.asked_of_part(kept, "personalization")["judges"] == "judges"


# ---------------------------------------------------------------- commands


def test_checkpoints_are_taken_in_the_order_of_their_sequences(tmp_path):
    for name in ("sequences_1000", "72000", "500", "notes"):
        (tmp_path / name).mkdir()
    found = curve.checkpoints_in(tmp_path)
    assert [(one.sequences, one.folder.name) for one in found] == [
        (500, "500"),
        (1000, "sequences_1000"),
        (72000, "72000"),
    ]


def test_a_curve_is_drawn_between_its_lowest_tenth_and_one():
    lines = {"right": [(100, [0.55, 0.5, 0.6]), (200, [0.9, 0.85, 0.95])], "pairs": [(100, [0.31, 0.2, 0.4])]}
    picture = curve_picture(lines, {"right": 0.97}, "title")
    assert picture.size == (900, 520) and len(picture.getcolors(10**6)) > 4


def test_the_curve_names_its_folder_where_there_is_no_checkpoint(tmp_path, capsys):
    with pytest.raises(SystemExit):
        curve.main([str(tmp_path)])
    assert f"{tmp_path} holds no folder named by a number of sequences" in capsys.readouterr().err


def test_unknown_subjects_are_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--subjects", "purple_mug,nobody"])
    assert "no unseen subject nobody" in capsys.readouterr().err


TINY = Effort(
    images=2,
    pairs=2,
    guidances=(),
    judge_steps=1,
    galleries=1,
    subjects=("lilac_dog",),
    spread=("lilac_dog",),
    seeds=(0,),
    places=1,
    training={"embedding_steps": 1, "layer_steps": 1},
)


def test_one_command_writes_the_card_of_both_editions(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "QUICK", TINY)
    monkeypatch.setattr(lessons, "BATCH", 8)
    monkeypatch.setattr(evaluation, "SUBJECTS", {"lilac_dog": SUBJECTS["lilac_dog"]})  # photos to reconstruct
    out = tmp_path / "card"
    options = ["--quick", "--compare", str(MINIATURE_FOLDER), "--out", str(out), "--sheets", str(tmp_path / "sheets")]
    evaluate.main(options)
    card = (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| cfg 2, second edition |" in card and "| cfg 2, first edition |" in card
    assert "## second edition − first edition" in card and "| lilac_dog |" in card and "mini-ID" in card
    assert (out / "table.json").is_file() and (tmp_path / "sheets" / "editions.png").is_file()
