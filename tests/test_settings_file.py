"""A command's options in a file: what was asked for is written beside the results and repeats them."""

from __future__ import annotations

import json
import sys

import pytest

from ar_core import cli
from ar_core.commands.settings_file import SettingsError, settings_of
from ar_core.shipped import example_subjects

TYPED = ["dreambench", "--dry-run", "--no-scores"]


def parsed(*words):
    return cli.parse(cli.PROGRAM, [*TYPED, *map(str, words)])


def written(path, **settings):
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def test_a_file_says_what_would_be_typed(tmp_path):
    path = written(
        tmp_path / "mine.json",
        data="miniature",
        cfg=3.5,
        rank=8,
        strategies=["two_stage", "joint"],
        prior_preservation=True,
        per_image_token=False,
        size="96x96",
        seeds="1,2",
        top_k=None,
    )
    options = parsed("--settings", path)
    assert (options.cfg, options.rank, options.strategies, options.seeds) == (3.5, 8, "two_stage,joint", "1,2")
    assert (options.prior_preservation, options.per_image_token, options.top_k) == (True, False, None)
    assert options.size == (96, 96)


def test_what_is_typed_wins(tmp_path):
    path = written(tmp_path / "mine.json", data="miniature", cfg=3.5, rank=8)
    options = parsed("--cfg", "2", f"--settings={path}")
    assert (options.cfg, options.rank) == (2.0, 8)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML needs Python 3.11")
def test_toml_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('data = "miniature"\ncfg = 3.5\nstrategies = ["base"]\n', encoding="utf-8")
    assert parsed("--settings", path).cfg == 3.5


@pytest.mark.parametrize(
    "content, said",
    [
        ('{"cgf": 3}', 'there is no setting "cgf"'),
        ('{"help": true}', 'there is no setting "help"'),
        ('{"settings": "other.json"}', 'there is no setting "settings"'),
        ('{"cfg": "strong"}', "argument --cfg: invalid float value: 'strong'"),
        ('{"rank": 2.5}', "argument --rank: invalid int value: '2.5'"),
        ('{"recipe": "mine"}', "argument --recipe: invalid choice: 'mine'"),
        ('{"cfg": false}', "argument --cfg: invalid float value: 'False'"),
        ("[1]", "should hold settings by name"),
        ("{", "cannot be read as settings"),
    ],
)
def test_a_setting_that_cannot_be_meant_names_the_file(content, said, tmp_path, capsys):
    path = tmp_path / "mine.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError) as found:
        parsed("--settings", path)
    assert str(path) in str(found.value) and said in str(found.value)
    assert cli.main([*TYPED, "--settings", str(path)]) == 1
    assert said in capsys.readouterr().err


def test_an_option_is_written_out(tmp_path):
    path = written(tmp_path / "mine.json", data="miniature", cfg=3.5)
    with pytest.raises(SystemExit):  # and not read as --settings, of which only half of the command would know
        parsed("--setting", path)


def test_another_settings_file_in_the_folder_stays(tmp_path):
    words = ["dreambench", "--data", str(example_subjects()), "--subjects", "lilac_dog", "--strategies", "base"]
    mine = written(tmp_path / "settings.json", mine=True)
    before = mine.read_text(encoding="utf-8")
    for _ in range(2):
        assert cli.main([*words, "--no-scores", "--out", str(tmp_path)]) == 0
    assert mine.read_text(encoding="utf-8") == before
    assert sorted(path.name for path in tmp_path.glob("settings*")) == ["settings.json", "settings_2.json"]


def test_a_file_that_is_missing_is_named(tmp_path, capsys):
    assert cli.main([*TYPED, "--settings", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


def test_what_was_written_repeats_what_was_asked(tmp_path):
    words = ("--data", "miniature", "--cfg", "3", "--size", "96x96", "--prior-preservation", "--seeds", "0,2")
    asked = parsed(*words)
    path = written(tmp_path / "settings.json", **settings_of(asked, ("run", "settings", "dry_run")))
    again = parsed("--settings", path)
    assert {**vars(again), "settings": None} == {**vars(asked), "settings": None}


def test_a_benchmark_leaves_its_settings_and_they_repeat_it(tmp_path, capsys):
    first = tmp_path / "first"
    words = ["--data", str(example_subjects()), "--subjects", "lilac_dog", "--strategies", "base", "--cfg", "1"]
    assert cli.main(["dreambench", "--no-scores", *words, "--top-k", "5", "--out", str(first)]) == 0
    again = ["dreambench", "--settings", str(first / "settings.json"), "--out"]
    assert cli.main([*again, str(first)]) == 0
    assert "finished before" in capsys.readouterr().out
    assert cli.main([*again, str(tmp_path / "second")]) == 0
    asked = [
        json.loads(path.read_text(encoding="utf-8"))["asked"] for path in sorted(tmp_path.glob("*/base/*/unit-0.json"))
    ]
    assert len(asked) == 2 and asked[0] == asked[1]
    assert (asked[0]["sampling"]["cfg"], asked[0]["sampling"]["top_k"]) == (1, 5)
