"""Reports of `score`: whatever a user has in the folder stays, and reports that are written at once do not mix."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from PIL import Image

from ar_core import cli
from ar_core.dreambench.protocol import Protocol
from ar_core.dreambench.report import write_new_report
from ar_core.dreambench.scoring import ScoredPicture, SubjectScores
from ar_core.shipped import example_subjects

PROTOCOL = Protocol({"vit": "a"}, {}, {})


def scored(prompt: str = "a cup") -> list[SubjectScores]:
    picture = ScoredPicture("cup", prompt, "a.png", "", (0.5, 0.5, 0.25), 0.9, False)
    return [SubjectScores("cup", ("a", "b", "c"), (picture,), {"a": 0.5, "b": 0.5}, 0.1, 0.1)]


def write(out, prompt: str = "a cup"):
    return write_new_report(out, scored(prompt), PROTOCOL, "ours", {"cup": Image.new("RGB", (9, 9))})


@pytest.mark.parametrize("name", ["scores.json", "scores.md", "scores.csv", "cup.png"])
def test_a_report_overwrites_no_file_of_the_user(tmp_path, name):
    mine = tmp_path / "scores" / name
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    paths = write(tmp_path / "scores")
    assert mine.read_text(encoding="utf-8") == "mine" and list(mine.parent.iterdir()) == [mine]
    assert {path.parent for path in paths} == {tmp_path / "scores_2"} and len(paths) == 4


def test_a_report_joins_other_files_in_its_folder(tmp_path):
    (tmp_path / "mine.txt").touch()
    assert {path.parent for path in write(tmp_path)} == {tmp_path}


def test_a_file_that_comes_while_the_report_is_written_stays(tmp_path, monkeypatch):
    from ar_core.dreambench import report

    original = report.write_json

    def slow(path, *values, **options):
        (path.parent / "scores.md").write_text("mine", encoding="utf-8")
        return original(path, *values, **options)

    monkeypatch.setattr(report, "write_json", slow)
    assert "scores_2.md" in [path.name for path in write(tmp_path)]
    assert (tmp_path / "scores.md").read_text(encoding="utf-8") == "mine"


def test_reports_that_are_written_at_once_lie_in_folders_of_their_own(tmp_path):
    starting = Barrier(6)

    def run(number: int):
        starting.wait()
        return write(tmp_path / "scores", f"a cup {number}")

    with ThreadPoolExecutor(6) as pool:
        reports = list(pool.map(run, range(6)))
    assert len({paths[0].parent for paths in reports}) == 6
    for number, paths in enumerate(reports):
        found = json.loads(paths[0].read_text(encoding="utf-8"))
        assert found["subjects"]["cup"]["pictures"][0]["prompt"] == f"a cup {number}"
        assert all(f"a cup {number}" in path.read_text(encoding="utf-8") for path in paths if path.suffix == ".csv")


def test_score_says_where_the_report_went(tmp_path, capsys):
    photos = example_subjects() / "lilac_dog"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (64, 64), "red").save(pictures / "lilac_dog__a_dog__0.png")
    out = tmp_path / "scores"
    out.mkdir()
    (out / "scores.md").write_text("mine", encoding="utf-8")
    command = ["score", "--images", str(pictures), "--photos", str(photos), "--encoders", "miniature"]
    assert cli.main([*command, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"this report is in {tmp_path / 'scores_2'}." in said and (out / "scores.md").read_text() == "mine"
