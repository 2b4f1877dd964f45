"""Several methods in one table: what is paired, what is corrected, what may stand side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ar_core import cli
from ar_core.dreambench.common_ground import missing_subjects, on_common_ground
from ar_core.dreambench.comparison_report import comparison_as_markdown, found_differences
from ar_core.dreambench.comparisons import Comparison, compare, named_in_advance
from ar_core.dreambench.encoders import PAPER_ENCODERS
from ar_core.dreambench.kept_scores import ScoresError, read_numbers, read_report
from ar_core.dreambench.protocol import OtherProtocol, Protocol, SubjectProtocol
from ar_core.dreambench.scoring import ScoredPicture, SubjectScores
from ar_core.dreambench.statistics import NAN
from ar_core.shipped import example_subjects

MEASURES = PAPER_ENCODERS.measures
LIKENESS = MEASURES[0]


def subject(name: str, *values: float, prompts: str = "") -> SubjectScores:
    """Pictures whose first measure has these values; `prompts`: a letter for each."""
    pictures = []
    for number, value in enumerate(values):
        prompt = prompts[number : number + 1] or "a cup"
        pictures.append(ScoredPicture(name, prompt, "x", "", (value, 0.0, 0.0), 0.0, False))
    return SubjectScores(name, MEASURES, tuple(pictures), {LIKENESS: 0.9}, 0.0, 0.0)


def several(*values: float) -> list[SubjectScores]:
    return [subject(f"s{number}", value) for number, value in enumerate(values)]


# ---------------------------------------------------------------- differences


def test_differences_are_paired_by_subject():
    first = [subject("a", 0.9, 0.7), subject("b", 0.4), subject("alone", 0.1)]
    second = [subject("b", 0.3), subject("a", 0.7)]
    asked = Comparison("first", "second", LIKENESS)
    found = compare({"first": first, "second": second}, [asked], None)[asked]
    assert found.difference.mean == pytest.approx(0.1) and found.subjects == 2  # both by a tenth, far apart as they are


def test_what_was_named_in_advance_is_tested_alone_and_the_others_together():
    rng = np.random.default_rng(1)
    base = rng.normal(0.5, 0.1, 8)
    scored = {
        name: several(*(base - shift + rng.normal(0, 0.02, 8))) for name, shift in (("a", 0), ("b", 0.03), ("c", 0.02))
    }
    asked = [Comparison("a", "b", LIKENESS), Comparison("a", "c", LIKENESS), Comparison("b", "c", LIKENESS)]
    alone = compare(scored, asked, asked[0])
    together = compare(scored, asked, None)
    assert alone[asked[0]].primary and alone[asked[0]].corrected == alone[asked[0]].difference.p
    smallest = min(asked[1:], key=lambda one: alone[one].difference.p)
    assert alone[smallest].corrected == pytest.approx(min(1, 2 * alone[smallest].difference.p))
    assert together[asked[0]].corrected > alone[asked[0]].corrected


def test_a_question_with_the_other_sign_is_not_counted_twice():
    scored = {"a": several(*np.linspace(0.5, 0.9, 6)), "b": several(*np.linspace(0.4, 0.85, 6))}
    asked = Comparison("a", "b", LIKENESS)
    found = compare(scored, [asked, asked.reversed], None)
    assert found[asked].corrected == found[asked].difference.p == found[asked.reversed].corrected
    assert found[asked].difference.mean == -found[asked.reversed].difference.mean
    by_other_name = compare(scored, [asked.reversed], asked)
    assert by_other_name[asked.reversed].primary


def test_a_table_says_what_was_named_and_what_is_corrected():
    scored = {name: several(*np.linspace(low, 0.9, 6)) for name, low in (("a", 0.5), ("b", 0.3), ("c", 0.49))}
    primary = named_in_advance(list(scored), MEASURES, "c")
    text = comparison_as_markdown(scored, {"DINO": "x"}, found_differences(scored, primary))
    assert "| a minus … | DINO | CLIP-I | CLIP-T |" in text
    assert "Named in advance and tested by itself: a − c, DINO." in text
    assert "The p of the 5 other comparisons of this page are corrected together (Holm)." in text
    assert named_in_advance(["a"], MEASURES) is None
    assert named_in_advance(["a", "b"], MEASURES) == Comparison("a", "b", LIKENESS)


def test_prompts_count_the_same_however_many_pictures_they_have():
    uneven = subject("a", 0.9, 0.9, 0.9, 0.1, prompts="xxxy")
    assert uneven.mean(LIKENESS) == pytest.approx(0.5) == subject("a", 0.9, 0.1, prompts="xy").mean(LIKENESS)


def test_a_measure_that_one_method_lacks_has_no_difference():
    more = SubjectScores("a", (*MEASURES, "gallery"), (), {}, 0.0, 0.0, {"gallery": 1.0})
    asked = Comparison("more", "less", "gallery")
    found = compare({"more": [more] * 6, "less": several(*[0.5] * 6)}, [asked], None)[asked]
    assert str(found) == "–" and found.subjects == 0


def test_two_subjects_give_neither_interval_nor_verdict():
    scored = {"a": several(0.9, 0.9), "b": several(0.1, 0.2)}
    text = comparison_as_markdown(scored, {}, found_differences(scored, None))
    assert "| a | 0.900 (–)" in text and "| b | +0.750 (–)" in text and "**" not in text


# ---------------------------------------------------------------- common ground


def test_only_prompts_that_all_have_are_compared():
    scored = {
        "ours": [subject("a", 0.9, 0.1, prompts="xy"), subject("b", 0.5, prompts="x")],
        "theirs": [subject("a", 0.4, 0.8, prompts="xz")],
    }
    shared, notes = on_common_ground(scored)
    assert [one.mean(LIKENESS) for one in shared["ours"]] == [0.9, 0.5] and shared["theirs"][0].mean(LIKENESS) == 0.4
    assert notes == [
        '1 picture(s) of ours are not compared: another method lacks their prompt or seed, such as "y" of a.',
        '1 picture(s) of theirs are not compared: another method lacks their prompt or seed, such as "z" of a.',
    ]
    assert missing_subjects(scored) == ["theirs lacks b: compared over the other subjects."]
    with pytest.raises(OtherProtocol, match='theirs has no prompt of "a" in common'):
        on_common_ground({"ours": [subject("a", 1, prompts="x")], "theirs": [subject("a", 1, prompts="y")]})


def test_training_seeds_that_a_method_lacks_are_not_compared():
    def of_seeds(*seeds):
        pictures = [ScoredPicture("a", "x", "f", "", (0.1 * seed, 0.0, 0.0), 0.0, False, seed) for seed in seeds]
        return [SubjectScores("a", MEASURES, tuple(pictures), {}, 0.5, NAN, {"whole": 1.0})]

    scored = {"ours": of_seeds(1, 2, 3), "theirs": of_seeds(1, 3)}
    shared, notes = on_common_ground(scored, by_seed=True)
    assert [picture.seed for picture in shared["ours"][0].pictures] == [1, 3] and len(notes) == 1
    assert np.isnan(shared["ours"][0].diversity) and np.isnan(shared["ours"][0].whole["whole"])  # were of all pictures
    assert on_common_ground(scored)[0] == scored  # by prompts alone nothing is missing


def test_of_mere_numbers_no_prompt_is_asked():
    scored = {"ours": [subject("a", 0.9, prompts="x")], "theirs": [subject("a", 0.4, prompts=" ")]}
    bare = ScoredPicture("a", "", "x", "", (0.4, 0.0, 0.0), 0.0, False)
    scored["theirs"] = [SubjectScores("a", MEASURES, (bare,), {}, NAN, NAN)]
    shared, notes = on_common_ground(scored)
    assert shared["theirs"] == scored["theirs"] and shared["ours"][0].mean(LIKENESS) == 0.9 and not notes


# ---------------------------------------------------------------- protocol


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (8, 8), colour)


def protocol(*photos: str, encoder: str = "dino@weights 12", prompts: str = "xy") -> Protocol:
    own = SubjectProtocol.of([picture(colour) for colour in photos], list(prompts))
    weights = encoder.rpartition(" ")[2]
    return Protocol({"DINO": encoder}, {"DINO": {"weights": weights, "input": {"side": 224}}}, {"a": own})


def test_a_protocol_is_named_by_what_decides_a_number():
    usual = protocol("red", "blue")
    assert usual.id == protocol("blue", "red", prompts="yxx").id  # in any order, however often
    others = [
        protocol("red", "green"),
        protocol("red", "blue", prompts="x"),
        protocol("red", "blue", encoder="dino@weights 13"),
    ]
    assert len({usual.id, *(other.id for other in others)}) == 4
    assert Protocol.read(json.loads(json.dumps(usual.describe()))).id == usual.id
    assert usual.id == protocol("red", "blue", encoder="another-folder@weights 12").id
    assert usual.id != replace(usual, gallery=("a", "b")).id


def test_tables_that_were_measured_otherwise_are_refused():
    usual = protocol("red", "blue")
    usual.check_comparable(protocol("red", "blue", prompts="x"), "ours", "theirs")
    usual.check_comparable(protocol("red", "blue", encoder="another-folder@weights 12"), "ours", "theirs")
    with pytest.raises(OtherProtocol, match="DINO of theirs is by dino@weights 13, and of ours by dino@weights 12"):
        usual.check_comparable(protocol("red", "blue", encoder="dino@weights 13"), "ours", "theirs")
    with pytest.raises(OtherProtocol, match='theirs compares "a" with other photos than ours does'):
        usual.check_comparable(protocol("red", "green"), "ours", "theirs")


# ---------------------------------------------------------------- other methods' numbers


@pytest.mark.parametrize(
    "text, said",
    [
        ("method,subject,DINO\ndb,cup,0.6\ndb,cup,0.6\n", 'line 3: "db" has "cup" a second time'),
        ("method,subject,DINO\ndb,cup,66.8\n", 'line 2: DINO is "66.8"; it must be a cosine from -1 to 1'),
        ("method,subject,DINO\ndb,cup,much\n", 'line 2: DINO is "much"'),
        ("method,subject,DINO\ndb,,0.5\n", "line 2: method or subject is empty"),
        ("method,subject\ndb,cup\n", "has none of the columns DINO, CLIP-I, CLIP-T"),
    ],
)
def test_numbers_that_cannot_be_meant_name_their_line(text, said, tmp_path):
    path = tmp_path / "others.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScoresError, match=said):
        read_numbers(path, MEASURES)


def test_other_methods_may_lack_a_measure(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text("method,subject,DINO,CLIP-T\ndb,cup,0.6,\nti,cup,0.5,0.3\n", encoding="utf-8")
    found = read_numbers(path, MEASURES)
    assert found["db"][0].mean("DINO") == 0.6 and np.isnan(found["db"][0].mean("CLIP-T"))
    assert found["ti"][0].mean("CLIP-T") == 0.3 and np.isnan(found["ti"][0].mean("CLIP-I"))


def test_a_report_without_protocol_is_refused(tmp_path):
    (tmp_path / "scores.json").write_text('{"subjects": {}}', encoding="utf-8")
    with pytest.raises(ScoresError, match="cannot stand in a table"):
        read_report(tmp_path)
    with pytest.raises(ScoresError, match="does not exist"):
        read_report(tmp_path / "nothing")


# ---------------------------------------------------------------- the command


@pytest.fixture
def folders(tmp_path):
    """Pictures of two subjects by two methods, with their prompts inside."""
    rng = np.random.default_rng(0)
    for method in ("ours", "theirs"):
        for name in ("lilac_dog", "cream_cat"):
            folder = tmp_path / method / name
            folder.mkdir(parents=True)
            for place in ("in the snow", "on the beach"):
                info = PngInfo()
                info.add_text("prompt", f"a {name.split('_')[1]} {place}")
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).resize((64, 64)).save(folder / f"{place[-4:]}.png", pnginfo=info)
    return tmp_path


def score(*words: object) -> int:
    return cli.main(["score", "--data", str(example_subjects()), *map(str, words)])


def test_several_folders_an_earlier_report_and_numbers_stand_in_one_table(folders, capsys):
    out = folders / "scores"
    assert score("--images", folders / "theirs", "--out", folders / "earlier") == 0
    numbers = folders / "numbers.csv"
    numbers.write_text("method,subject,mini-ID\nTextual Inversion,lilac_dog,0.2\n", encoding="utf-8")
    images = ("--images", f"mine={folders / 'ours'}", folders / "theirs")
    earlier = ("--scores", f"before={folders / 'earlier'}")
    assert score(*images, *earlier, "--numbers", numbers, "--against", "before", "--out", out) == 0
    said = capsys.readouterr().out
    assert "Named in advance: mine − before, mini-ID. It cannot be tested: 2 subject(s)" in said
    assert "Textual Inversion lacks cream_cat" in said
    found = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert list(found["methods"]) == ["mine", "theirs", "before", "Textual Inversion"]
    assert found["methods"]["theirs"] == found["methods"]["before"]  # a report is as good as its pictures
    assert found["methods"]["Textual Inversion"]["mini-ID"][0] == 0.2
    assert (out / "mine" / "scores.json").is_file() and (out / "theirs" / "lilac_dog.png").is_file()
    assert json.loads((out / "mine" / "scores.json").read_text(encoding="utf-8"))["protocol"]["id"]


def test_two_reports_are_compared_without_any_picture(folders, capsys):
    for method in ("ours", "theirs"):
        assert score("--images", folders / method, "--out", folders / f"of_{method}") == 0
    words = ("--scores", f"a={folders / 'of_ours'}", f"b={folders / 'of_theirs'}", "--out", folders / "both")
    assert cli.main(["score", *map(str, words)]) == 0
    assert "Named in advance: a − b, mini-ID." in capsys.readouterr().out
    assert (folders / "both" / "comparison.json").is_file()


def test_a_gallery_stands_beside_numbers_that_have_none(folders, capsys):
    numbers = folders / "numbers.csv"
    numbers.write_text("method,subject,mini-ID\nother,lilac_dog,0.2\n", encoding="utf-8")
    words = ("--images", folders / "ours", "--measures", "gallery", "--numbers", numbers, "--out", folders / "out")
    assert score(*words) == 0
    assert "| other | " in capsys.readouterr().out


def test_class_images_are_of_one_subject(folders, capsys):
    words = ("--images", folders / "ours", "--class-images", folders / "ours" / "lilac_dog")
    assert score(*words, "--out", folders / "out") == 1
    assert "--class-images are of one subject's class" in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused_before_anything_is_written(folders, capsys):
    out = folders / "scores"
    images = ("--images", folders / "ours", folders / "theirs")
    for words, said in (
        (
            (*images, "--against", "nobody"),
            '--against is "nobody"; it must be one of the methods',
        ),
        (("--images", folders / "ours", folders / "ours"), '--images names "ours" twice'),
        (("--images", f"a/b={folders / 'ours'}"), 'The method "a/b" needs a name that can be a folder\'s'),
        ((), "Give a folder of pictures with --images"),
    ):
        assert score(*words, "--out", out) == 1 and said in capsys.readouterr().err
    assert not (out / "comparison.json").exists()


def test_a_report_of_other_photos_is_refused(folders, capsys):
    out = folders / "earlier"
    assert score("--images", folders / "theirs", "--out", out) == 0
    path = out / "scores.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["protocol"]["subjects"]["lilac_dog"]["photos"] = "other"
    path.write_text(json.dumps(found), encoding="utf-8")
    words = ("--images", folders / "ours", "--scores", f"before={out}", "--out", folders / "scores")
    assert score(*words) == 1
    assert "its id does not fit what it says of how it was measured" in capsys.readouterr().err
    found["protocol"]["id"] = Protocol.read(found["protocol"]).id
    path.write_text(json.dumps(found), encoding="utf-8")
    assert score("--images", folders / "ours", "--scores", f"before={out}", "--out", folders / "scores") == 1
    assert 'before compares "lilac_dog" with other photos than ours does' in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda report: report.update(subjects={}), "its subjects have different measures, or there are none"),
        (lambda report: report.update(complete=False), "the scoring was stopped before its end"),
        (lambda report: first_picture(report).update({"mini-ID": 5}), "5.0 is no cosine"),
        (lambda report: first_picture(report).update({"mini-ID": True}), "is no number"),
        (lambda report: first_picture(report).update({"mini-ID": "0.9"}), "is no number"),
        (lambda report: first_picture(report).update({"mini-ID": 10**400}), "OverflowError"),
        (lambda report: first_picture(report).update({"prompt": ""}), "a picture has no prompt"),
        (lambda report: first_picture(report).update({"prompt": ["a dog"]}), "a picture has no prompt"),
        (
            lambda report: first_picture(report).update({"prompt": "another"}),
            "not those that it says were measured",
        ),
        (
            lambda report: report["subjects"]["lilac_dog"].update(pictures=[]),
            "not those that it says were measured",
        ),
        (lambda report: report["subjects"]["lilac_dog"].update(measures=["mini-ID"]), "different measures"),
    ],
)
def test_a_report_that_was_changed_by_hand_is_refused(change, said, folders, capsys):
    assert score("--images", folders / "theirs", "--out", folders / "earlier") == 0
    path = folders / "earlier" / "scores.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    change(report)
    path.write_text(json.dumps(report), encoding="utf-8")
    capsys.readouterr()
    assert score("--images", folders / "ours", "--scores", path, "--out", folders / "scores") == 1
    told = capsys.readouterr().err
    assert said in told and str(path) in told


def first_picture(report):
    return report["subjects"]["lilac_dog"]["pictures"][0]


def test_a_table_says_over_whom_its_rows_are(folders, capsys):
    for path in (folders / "theirs" / "cream_cat").iterdir():
        path.unlink()
    out = folders / "scores"
    assert score("--images", folders / "ours", folders / "theirs", "--out", out) == 0
    text = (out / "comparison.md").read_text(encoding="utf-8")
    assert "| ours (2 subjects) |" in text and "| theirs (1 subjects) |" in text
    assert "Note: theirs lacks cream_cat: compared over the other subjects." in text
    assert "Named in advance: ours − theirs, mini-ID. It cannot be tested: 1 subject(s) have both numbers." in text
    assert "corrected together" not in text  # where nothing is tested


def test_prompts_that_have_nothing_in_common_are_said_before_anything_is_scored(folders, capsys, monkeypatch):
    monkeypatch.setattr("ar_core.commands.score.load_encoders", lambda *given: pytest.fail("scored"))
    table = "file,subject,prompt\nlilac_dog/snow.png,lilac_dog,another sentence\n"
    (folders / "theirs" / "pictures.csv").write_text(table, encoding="utf-8")
    assert score("--images", folders / "ours", folders / "theirs", "--out", folders / "scores") == 1
    assert 'theirs has no prompt of "lilac_dog" in common' in capsys.readouterr().err


def test_a_report_is_not_put_among_the_pictures(folders, capsys):
    assert score("--images", folders / "ours", "--out", folders / "ours" / "scores") == 1
    assert "in the folder of pictures" in capsys.readouterr().err
    assert not (folders / "ours" / "scores").exists()
