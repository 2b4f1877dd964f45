"""Several processes share a benchmark: they meet before anything is loaded, and every subject has one of them."""

from __future__ import annotations

import sys
import types
from datetime import timedelta

import pytest

from ar_core import cli
from ar_core.commands import dreambench
from ar_core.dreambench.processes import ALONE, Processes, join_processes


def test_subjects_are_dealt_out_in_turn():
    subjects = list("abcdefg")
    shares = [Processes(rank, 3).share(subjects) for rank in range(3)]
    assert shares == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
    assert ALONE.share(subjects) == subjects


def test_processes_are_known_by_accelerate(monkeypatch):
    class PartialState:
        process_index = 1
        num_processes = 3

        def __init__(self, cpu: bool, timeout: timedelta):
            pass

        def wait_for_everyone(self):
            pass

    module = types.ModuleType("accelerate")
    module.PartialState = PartialState
    monkeypatch.setitem(sys.modules, "accelerate", module)
    monkeypatch.setenv("WORLD_SIZE", "3")
    found = join_processes()
    assert (found.rank, found.count) == (1, 3)


@pytest.mark.parametrize("rank, loads_encoders", [(0, ["load_encoders"]), (1, [])])
def test_models_and_encoders_are_loaded_after_the_processes_have_met(rank, loads_encoders, tmp_path, monkeypatch):
    happened = []

    def noted(name, function):
        monkeypatch.setattr(dreambench, name, lambda *given: (happened.append(name), function(*given))[1])

    noted("join_processes", lambda: Processes(rank, 3, lambda: happened.append("waited")))
    noted("load_model_from_options", dreambench.load_model_from_options)
    noted("load_encoders", dreambench.load_encoders)
    words = ["dreambench", "--data", "miniature", "--strategies", "base", "--seeds", "0"]
    words += ["--subjects", "lilac_dog,cream_cat,mint_robot", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    # nobody leaves before the first process has scored, which would end it
    assert happened == ["join_processes", "load_model_from_options", *loads_encoders, "waited", "waited"]
    assert len(list((tmp_path / "base").iterdir())) == 1  # its share
    assert (tmp_path / "scores").exists() == (tmp_path / "settings.json").exists() == (rank == 0)
