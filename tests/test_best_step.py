"""Which step of a training is handed on: the rule, what is remembered of it, and that the last one stays as it was."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import FAMILY, toy_model, toy_subject

from ar_core import Personalization, TrainingSettings, cli, personalize
from ar_core.commands.dreambench import how_selected, selection_notes
from ar_core.commands.selection import leave_table, selecting_encoders
from ar_core.control import Cancelled, never
from ar_core.dreambench.benchmark import Plan
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.sampling import SamplingSettings
from ar_core.tables import read_csv
from ar_core.text import without_identifier
from ar_core.training.best_step import (
    BEST,
    LAST,
    Choice,
    Reading,
    StepTable,
    check_select,
    read_select,
    select_among,
)
from ar_core.training.sample_prompts import SELECTION_PROMPTS, selection_prompts, subject_prompts
from ar_core.training.stages import SELECTED, STAGE_ONE_SELECTED, Stage
from workshop.world.subjects import drawn_photos

SUBJECT = toy_subject()
SETTINGS = TrainingSettings.resolve(FAMILY, strategy="joint", rank=2, layer_steps=6)
PROMPTS = ("a {} in the desert", "a green {}")
PHOTOS = Reading(0.8, 0.2)
BASE = Reading(0.2, 0.7)
MIDDLE_IS_BEST = [BASE, Reading(0.3, 0.68), Reading(0.6, 0.6), Reading(0.7, 0.3)]  # of the base and steps 2, 4, 6


class Planted:
    """A judge that gives these readings one after the other; `stop`: raises Cancelled instead of that reading."""

    measures = ("ID", "TEXT")

    def __init__(self, readings=MIDDLE_IS_BEST, stop=None, key="planted"):
        self.readings = list(readings)
        self.key = {"name": key}
        self.stop = stop
        self.seen = []

    def read(self, pictures, sentences):
        if len(self.seen) == self.stop:
            raise Cancelled("Stopped at your request.")
        self.seen.append((len(pictures), tuple(sentences)))
        return self.readings.pop(0)

    def read_photos(self, sentences):
        return PHOTOS


def train(runs, select=BEST, judge=None, cancel=never, settings=SETTINGS, every=2, prompts=PROMPTS):
    """What is handed on, and the choice that was made."""
    choice = Choice(select, judge, prompts, cancel=cancel)
    results = personalize(toy_model(), SUBJECT, settings, runs, every=every, choose=choice)
    return results[-1], choice


def parameters(result):
    return [result.personalization.vectors, *result.personalization.adapter.parameters()]


def names(runs):
    return sorted(path.name for path in runs.iterdir() if path.is_dir())


def table(*readings, base=BASE, photos=PHOTOS):
    return StepTable(("ID", "TEXT"), base, photos, dict(enumerate(readings, 1)))


# ---------------------------------------------------------------- the rule


def test_both_ends_are_worth_nothing_and_a_balance_wins():
    found = table(BASE, Reading(0.5, 0.45), PHOTOS)
    assert [found.likeness(step) for step in (1, 2, 3)] == pytest.approx([0, 0.5, 1])
    assert [found.prompt(step) for step in (1, 2, 3)] == pytest.approx([1, 0.5, 0])
    assert [found.together(step) for step in (1, 2, 3)] == pytest.approx([0, 0.5, 0])
    assert found.best == 2


def test_the_units_of_a_measure_do_not_matter():
    steps = [Reading(0.3, 0.68), Reading(0.5, 0.5), Reading(0.7, 0.3)]
    small = [Reading(one.likeness, 0.3 + one.prompt / 20) for one in (*steps, BASE, PHOTOS)]
    assert table(*steps).best == table(*small[:3], base=small[3], photos=small[4]).best == 2


def test_of_equals_the_later_is_taken_and_of_nothing_the_last():
    assert table(Reading(0.5, 0.45), Reading(0.5, 0.45)).best == 2
    assert table(Reading(0.1, 0.9), Reading(0.2, 0.9), Reading(0.9, 0.1)).best == 3


def test_a_measure_that_tells_base_and_photos_not_apart_decides_nothing():
    found = table(Reading(0.9, 0.3), Reading(0.1, 0.6), base=Reading(0.8, 0.7))
    assert found.likeness(1) == found.likeness(2) == 1 and found.best == 2


# ---------------------------------------------------------------- what is handed on


def test_the_best_step_is_what_a_training_of_so_many_steps_gives(tmp_path):
    judge = Planted()
    result, choice = train(tmp_path / "best", judge=judge)
    assert result.step == 4 == choice.table.best and len(result.losses) == 4
    [shorter] = personalize(toy_model(), SUBJECT, replace(SETTINGS, layer_steps=4), tmp_path / "shorter")
    assert all(map(torch.equal, parameters(result), parameters(shorter)))
    assert result.personalization.recipe["steps"] == 4
    assert result.personalization.recipe[SELECTED] == {
        "by": "best",
        "of": [2, 4, 6],
        "measures": ["ID", "TEXT"],
        "prompts": ["a [V] dog in the desert", "a green [V] dog"],
    }
    assert judge.seen == 4 * [(2, ("a dog in the desert", "a green dog"))]


def test_the_last_step_is_as_before_to_the_bit_and_no_run_has_another_name(tmp_path):
    [plain] = personalize(toy_model(), SUBJECT, SETTINGS, tmp_path / "plain", every=2)
    written = plain.personalization.save(tmp_path / "plain.safetensors").read_bytes()
    last, choice = train(tmp_path / "last", LAST)
    assert choice.table is None
    assert last.personalization.save(tmp_path / "last.safetensors").read_bytes() == written
    train(tmp_path / "best", judge=Planted())
    assert names(tmp_path / "plain") == names(tmp_path / "last") == names(tmp_path / "best")
    [after] = personalize(toy_model(), SUBJECT, SETTINGS, tmp_path / "best", every=2)
    assert after.note == "remembered"
    assert after.personalization.save(tmp_path / "after.safetensors").read_bytes() == written


def test_pictures_of_steps_differ_and_the_base_draws_without_the_subject(tmp_path):
    train(tmp_path, judge=Planted())
    drawn = {path.name[:13]: path.read_bytes() for path in tmp_path.rglob("choice-*.safetensors")}
    assert sorted(drawn) == ["choice-000000", "choice-000002", "choice-000004", "choice-000006"]
    assert len(set(drawn.values())) == 4


def test_a_step_by_its_number(tmp_path):
    result, choice = train(tmp_path, 2)
    assert result.step == 2 and choice.table is None
    assert result.personalization.recipe[SELECTED] == {"by": "2", "of": [2, 4, 6]}
    assert not list(tmp_path.rglob("choice-*"))


@pytest.mark.parametrize("strategy", ["two_stage", "deep", "deep_two_stage"])
def test_of_several_stages_it_is_the_last_ones_step(strategy, tmp_path):
    settings = TrainingSettings.resolve(
        FAMILY, strategy=strategy, rank=2, embedding_steps=2, deep_steps=4, layer_steps=4, depth=2
    )
    result, _ = train(tmp_path, judge=Planted(MIDDLE_IS_BEST[0::2] + [Reading(0.3, 0.3)]), settings=settings)
    if strategy == "two_stage":
        assert result.personalization.recipe["embedding_steps"] == 2
    assert result.step == 2 and result.personalization.recipe[SELECTED]["of"] == [2, 4]
    drawn = toy_model().personalized(result.personalization).generate("a [V] dog", SamplingSettings.resolve(FAMILY))
    assert drawn[0].codes.shape == (1, 4, 4)


def test_of_a_style_it_is_chosen_by_sentences_without_what_leads_to_its_name(tmp_path):
    settings = TrainingSettings.resolve(FAMILY, strategy="deep", deep_steps=4, depth=2)
    judge = Planted(MIDDLE_IS_BEST[:3])
    choice = Choice(BEST, judge)
    [result] = personalize(toy_model(), replace(SUBJECT, class_name=""), settings, tmp_path, every=2, choose=choice)
    pictures, sentences = judge.seen[-1]
    assert pictures == 5 and sentences[0] == "a dog in the desert" and not any("style" in one for one in sentences)
    asked = result.personalization.recipe[SELECTED]["prompts"]
    assert asked == [f"{sentence} in the style of [V]" for sentence in sentences]


# ---------------------------------------------------------------- remembered, stopped, damaged


def refuse(*_, **__):
    pytest.fail("drew again")


def test_a_second_call_draws_and_scores_nothing(tmp_path, monkeypatch):
    first, choice = train(tmp_path, judge=Planted())
    monkeypatch.setattr(Stage, "draw", refuse)
    again, second = train(tmp_path, judge=Planted([]))
    assert again.step == first.step and second.table == choice.table and again.note == "remembered"


def test_what_was_drawn_is_scored_by_another_judge_without_being_drawn_again(tmp_path, monkeypatch):
    train(tmp_path, judge=Planted())
    monkeypatch.setattr(Stage, "draw", refuse)
    other = [BASE, Reading(0.7, 0.6), Reading(0.3, 0.6), Reading(0.3, 0.3)]
    result, _ = train(tmp_path, judge=Planted(other, key="another"))
    assert result.step == 2


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_choice_that_was_stopped_goes_on(stop, tmp_path, monkeypatch):
    with pytest.raises(Cancelled):
        train(tmp_path, judge=Planted(stop=stop))
    draw, drawn = Stage.draw, []
    monkeypatch.setattr(Stage, "draw", lambda self, step, *more: (drawn.append(step), draw(self, step, *more))[1])
    judge = Planted(MIDDLE_IS_BEST[stop:])
    result, choice = train(tmp_path, judge=judge)
    assert result.step == 4 and not judge.readings
    assert drawn == [2, 4, 6][stop:]  # the step at which it was stopped was drawn already
    whole, other = train(tmp_path / "whole", judge=Planted())
    assert all(map(torch.equal, parameters(result), parameters(whole))) and choice.table == other.table


KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
from pathlib import Path
from test_best_step import Planted, train
class Killing(Planted):
    def read(self, pictures, sentences):
        if len(self.seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(pictures, sentences)
train(Path(sys.argv[2]), judge=Killing())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills processes in other ways")
def test_a_choice_whose_process_was_killed_goes_on(tmp_path):
    root = Path(__file__).resolve().parents[1]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(root), str(tmp_path)], capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    judge = Planted(MIDDLE_IS_BEST[2:])
    result, choice = train(tmp_path, judge=judge)
    assert result.step == 4 and not judge.readings and result.note == "remembered"
    assert choice.table == train(tmp_path / "whole", judge=Planted())[1].table


def test_cancel_ends_a_choice_before_the_next_step_is_drawn(tmp_path):
    train(tmp_path, LAST)
    judge = Planted()
    with pytest.raises(Cancelled):
        train(tmp_path, judge=judge, cancel=lambda: len(judge.seen) == 2)
    assert len(judge.seen) == 2
    assert sorted(path.name[:13] for path in tmp_path.rglob("choice-*.safetensors")) == [
        "choice-000000",
        "choice-000002",
    ]


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"readings": {"0": 1}}', b'{"readings": {"0": ["x", 1]}}', b"\xff"])
def test_damaged_readings_are_made_again(damage, tmp_path, monkeypatch):
    first, choice = train(tmp_path, judge=Planted())
    [path] = tmp_path.rglob("choice-*.json")
    path.write_bytes(damage)
    monkeypatch.setattr(Stage, "draw", refuse)
    judge = Planted()
    again, second = train(tmp_path, judge=judge)
    assert not judge.readings and second.table == choice.table and again.step == first.step
    assert json.loads(path.read_text(encoding="utf-8"))["readings"]["photos"] == [0.8, 0.2]


def test_a_flipped_digit_of_a_reading_is_noticed(tmp_path):
    first, choice = train(tmp_path, judge=Planted())
    [path] = tmp_path.rglob("choice-*.json")
    path.write_text(path.read_text(encoding="utf-8").replace("0.8", "0.9", 1), encoding="utf-8")
    again, second = train(tmp_path, judge=Planted())
    assert second.table == choice.table and again.step == first.step


def damage(runs, step):
    [path] = runs.rglob(f"{step:06d}.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 255
    path.write_bytes(data)


def test_a_damaged_result_of_the_best_step_is_learned_again(tmp_path):
    first, _ = train(tmp_path, judge=Planted())
    damage(tmp_path, 4)
    again, _ = train(tmp_path, judge=Planted([]))
    assert again.step == 4 and all(map(torch.equal, parameters(again), parameters(first)))


def test_a_damaged_result_of_another_step_is_learned_again_and_drawn_as_before(tmp_path):
    """The training itself needs the last step alone, and does not look at this one."""
    whole, _ = train(tmp_path / "whole", judge=Planted())
    train(tmp_path / "damaged", LAST)
    damage(tmp_path / "damaged", 2)
    result, choice = train(tmp_path / "damaged", judge=Planted())
    assert result.step == 4 and sorted(choice.table.steps) == [2, 4, 6]
    assert all(map(torch.equal, parameters(result), parameters(whole)))
    pictures = [
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("choice-*.safetensors")}
        for name in ("whole", "damaged")
    ]
    assert len(pictures[0]) == 4 and pictures[0] == pictures[1]


def test_among_one_kept_step_nothing_is_drawn_or_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(Stage, "draw", refuse)
    result, choice = train(tmp_path, judge=Planted([]), every=6)
    assert result.step == 6 and choice.table is None and SELECTED not in result.personalization.recipe
    assert select_among(BEST, SETTINGS, 6) == LAST and select_among(BEST, SETTINGS, 2) == BEST
    assert select_among(6, SETTINGS, 6) == 6


def test_that_the_first_stages_step_was_chosen_stays_in_the_file(tmp_path):
    settings = TrainingSettings.resolve(FAMILY, strategy="two_stage", rank=2, embedding_steps=4, layer_steps=2)
    first = Stage(toy_model(), SUBJECT, settings, tmp_path, "embedding", every=2)
    chosen = Choice(2)(first, first.train(4)).personalization
    second = Stage(toy_model(), SUBJECT, settings, tmp_path, "layers", chosen)
    recipe = second.train(2).personalization.recipe
    assert recipe[STAGE_ONE_SELECTED] == {"by": "2", "of": [2, 4]} and SELECTED not in recipe


def test_more_steps_score_only_the_new_ones(tmp_path):
    train(tmp_path, judge=Planted())
    judge = Planted([Reading(0.75, 0.65)])
    result, _ = train(tmp_path, judge=judge, settings=replace(SETTINGS, layer_steps=8))
    assert result.step == 8 and not judge.readings


# ---------------------------------------------------------------- what is asked for


def test_a_step_that_is_not_kept_is_said_before_the_training():
    with pytest.raises(
        ValueError, match="Step 5 cannot be handed on: the last stage keeps its results at 2, 4, 6. Choose one"
    ):
        check_select(5, SETTINGS, 2)
    check_select(4, SETTINGS, 2)
    check_select(6, SETTINGS)
    check_select(BEST, SETTINGS)


@pytest.mark.parametrize("text", ["", "first", "0", "-3", "1.5", "²"])
def test_what_is_no_choice_is_said(text):
    with pytest.raises(ValueError, match="Give last, best or the number of a kept step"):
        read_select(text)


def test_choices_are_read():
    assert [read_select(text) for text in ("last", "best", "40")] == [LAST, BEST, 40]


def test_the_best_needs_a_judge():
    with pytest.raises(ValueError, match="needs encoders"):
        Choice(BEST)


def test_another_model_than_the_miniature_needs_encoders_of_the_users():
    class Options:
        dino = clip = None

    with pytest.raises(ValueError, match="--select best needs encoders .* add --dino .* and --clip"):
        selecting_encoders(BEST, Options(), replace(FAMILY, name="lumina-mgpt"))
    assert selecting_encoders(LAST, Options(), FAMILY) is None


def test_prompts_take_the_subject_where_it_goes():
    asked = ["a photo of {}  in the snow", "a [V] dog", "", "a [V] dog"]
    assert subject_prompts(asked, "[V]", "dog") == ("a photo of [V] dog in the snow", "a [V] dog")
    with pytest.raises(ValueError, match=r'"a dog" does not name the subject. Write {} or "\[V\] dog" where it goes'):
        subject_prompts(["a dog"], "[V]", "dog")
    assert subject_prompts(["a dog", "a {}"], "[V]", "dog", choosing=False) == ("a dog", "a [V] dog")


# google/dreambooth, dataset/prompts_and_classes.txt: the 25 prompts of objects, and those of live subjects that differ.
DREAMBENCH = """
a {} in the jungle
a {} in the snow
a {} on the beach
a {} on a cobblestone street
a {} on top of pink fabric
a {} on top of a wooden floor
a {} with a city in the background
a {} with a mountain in the background
a {} with a blue house in the background
a {} on top of a purple rug in a forest
a {} with a wheat field in the background
a {} with a tree and autumn leaves in the background
a {} with the Eiffel Tower in the background
a {} floating on top of water
a {} floating in an ocean of milk
a {} on top of green grass with sunflowers around it
a {} on top of a mirror
a {} on top of the sidewalk in a crowded street
a {} on top of a dirt road
a {} on top of a white rug
a red {}
a purple {}
a shiny {}
a wet {}
a cube shaped {}
a {} wearing a red hat
a {} wearing a santa hat
a {} wearing a rainbow scarf
a {} wearing a black top hat and a monocle
a {} in a chef outfit
a {} in a firefighter outfit
a {} in a police outfit
a {} wearing pink glasses
a {} wearing a yellow shirt
a {} in a purple wizard outfit
"""
SMALL_WORDS = set(["a", "an", "the", "{}", "in", "on", "of", "with", "and"])


def content(prompts):
    """What prompts ask for, by single words, several of a thing as one."""
    return {word.removesuffix("s") for prompt in prompts for word in prompt.split() if word not in SMALL_WORDS}


def test_no_benchmark_has_a_word_of_the_prompts_that_choose():
    from ar_core.dreambench.suites import drawn_suite

    data = drawn_suite().read()
    drawn = [prompt.plain("{}") for prompt in (*data.object_prompts, *data.live_prompts)]
    assert content(SELECTION_PROMPTS) == {"desert", "garden", "orange", "striped", "grey"}
    assert not content(SELECTION_PROMPTS) & content([*DREAMBENCH.splitlines(), *drawn])


@pytest.mark.parametrize("class_name", ["dog", ""])
def test_the_miniature_knows_the_words_of_the_prompts_that_choose(class_name):
    text = ARModel.load(MINIATURE_FOLDER).protocol.text
    for prompt in selection_prompts(class_name):
        assert not text.unknown_words(without_identifier(prompt.replace("{}", "[V]"), class_name))


# ---------------------------------------------------------------- tables


def test_the_table_is_left_beside_the_result_and_another_file_stays(tmp_path, capsys):
    found = table(*MIDDLE_IS_BEST[1:])
    path = tmp_path / "dog.steps.csv"
    assert leave_table(found, 2, tmp_path / "dog.safetensors") == f"wrote {path}"
    assert "| **2** | **0.600**" in capsys.readouterr().out
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    assert head == "step,ID,TEXT,likeness,prompt,together,taken"
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "base", "photos"]
    assert [row.endswith("yes") for row in rows] == [False, True, False, False, False]
    assert leave_table(found, 2, tmp_path / "dog.safetensors") == f"{path} already holds exactly this table"
    path.write_text("mine", encoding="utf-8")
    assert leave_table(found, 2, tmp_path / "dog.safetensors").endswith("dog.steps_2.csv")
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_benchmarks_table_says_that_its_measure_chose():
    best = Plan(("joint", "base"), select=BEST)
    assert how_selected(best, "joint") == ", selected by the reported measure" and not how_selected(best, "base")
    assert "selected by the reported measure" in selection_notes(best)[0]
    assert how_selected(Plan(("joint",), select=20), "joint") == ", step 20"
    reverted = Plan(("joint", "joint_reverted"), select=BEST)
    assert not how_selected(reverted, "joint_reverted") and how_selected(reverted, "joint")
    assert "joint_reverted has its last steps" in selection_notes(reverted)[1] and len(selection_notes(best)) == 1
    assert how_selected(Plan(("joint_reverted",), select=20), "joint_reverted") == ", step 20"
    assert not selection_notes(Plan(("joint",))) and not how_selected(Plan(("joint",)), "joint")


def test_the_command_hands_on_the_best_step_and_leaves_its_table(tmp_path, capsys):
    for number, (image, _) in enumerate(drawn_photos("lilac_dog", 2)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        image.save(tmp_path / "photos" / f"{number}.png")
    options = ["personalize", "--photos", str(tmp_path / "photos"), "--class-name", "dog", "--out", str(tmp_path / "x")]
    options += ["--strategy", "embedding_only", "--embedding-steps", "2", "--batch-size", "2", "--sample-every", "1"]
    assert cli.main([*options, "--select", "best", "--validation-prompt", "a {} in the desert"]) == 0
    said = capsys.readouterr().out
    saved = Personalization.load(tmp_path / "x.safetensors")
    assert saved.recipe[SELECTED]["measures"] == ["mini-ID", "mini-CLIP-T"]
    assert f"embedding: {saved.recipe['steps']} steps, trained" in said and "selected from 1, 2" in said
    rows = read_csv(tmp_path / "x.steps.csv", ["step", "mini-ID", "mini-CLIP-T", "taken"])
    assert [row["step"] for row in rows] == ["1", "2", "base", "photos"]
    assert [row["step"] for row in rows if row["taken"]] == [str(saved.recipe["steps"])]
    assert cli.main([*options, "--select", "7"]) == 1
    assert "Step 7 cannot be handed on" in capsys.readouterr().err
