"""Which files a folder holds: links followed, nothing read twice, no name that leads out of it."""

import os
import time
from pathlib import PureWindowsPath

import pytest

from ar_core import listing
from ar_core.listing import files_below, leads_out, named_inside


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(listing, "_LISTINGS", {})


def put(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def link(path, target):
    try:
        path.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this system does not let a test make links")


def make_old(folder):
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            os.utime(path, (1, 1))


def test_files_are_listed_below_each_other_and_hidden_ones_are_not(tmp_path):
    for name in ("b.txt", "dog/1.png", "dog/more/2.png", "Łódź/狗.png", ".hidden", ".git/config", "dog/.DS_Store"):
        put(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert files_below(tmp_path) == ("b.txt", "dog/1.png", "dog/more/2.png", "Łódź/狗.png")
    assert files_below(tmp_path / "absent") == ()


def test_links_are_followed_also_those_that_lead_elsewhere_or_back(tmp_path):
    put(tmp_path / "elsewhere/model/config.json")
    put(tmp_path / "elsewhere/one.safetensors")
    base = tmp_path / "models"
    put(base / "own/a.txt")
    link(base / "linked", tmp_path / "elsewhere/model")
    link(base / "one.safetensors", tmp_path / "elsewhere/one.safetensors")
    link(base / "again", base / "own")
    link(base / "own/back", base)
    link(base / "dangling", tmp_path / "nowhere")
    assert set(files_below(base)) >= {"again/a.txt", "linked/config.json", "one.safetensors", "own/a.txt"}
    assert not any("dangling" in name for name in files_below(base)) and len(files_below(base)) < 40
    assert named_inside(base, "linked") == base / "linked"


def test_only_folders_that_changed_are_read_again(tmp_path, monkeypatch):
    for number in range(50):
        put(tmp_path / f"{number}/photo.png")
    make_old(tmp_path)
    assert len(files_below(tmp_path)) == 50
    scanned = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: (scanned.append(folder), scandir(folder))[1])
    files_below(tmp_path)
    assert not scanned
    put(tmp_path / "7/another.png")
    assert "7/another.png" in files_below(tmp_path) and scanned


def test_a_folder_that_has_just_changed_is_read_again(tmp_path):
    """Its time of change may be the same after a second change."""
    put(tmp_path / "a.png")
    stat = tmp_path.stat()
    files_below(tmp_path)
    put(tmp_path / "b.png")
    os.utime(tmp_path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert files_below(tmp_path) == ("a.png", "b.png")


def test_thirty_thousand_files_are_no_hurry(tmp_path):
    for folder in range(30):
        (tmp_path / str(folder)).mkdir()
        for number in range(1000):
            (tmp_path / str(folder) / f"{number}.png").touch()
    make_old(tmp_path)
    began = time.monotonic()
    assert len(files_below(tmp_path)) == 30_000
    first = time.monotonic() - began
    began = time.monotonic()
    for _ in range(20):
        files_below(tmp_path)
    assert first < 2 and time.monotonic() - began < first


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "a/../../secret", "/etc", "a\0b", "x" * 5000, "absent"])
def test_a_name_that_leads_out_of_the_folder_names_nothing(tmp_path, name):
    put(tmp_path / "secret")
    put(tmp_path / "base/a/b")
    assert named_inside(tmp_path / "base", name) is None


@pytest.mark.parametrize(
    "name", ["\\Users\\x", "/Users/x", "C:x", "C:\\x", "C:", "\\\\host\\share\\x", "//host/share", "..\\x", "a/../../x"]
)
def test_on_windows_too_a_name_that_leads_out_of_the_folder_is_known(name):
    assert leads_out(PureWindowsPath(name))
    assert not leads_out(PureWindowsPath("a\\b.safetensors"))


def test_a_name_below_the_folder_names_what_is_there(tmp_path):
    put(tmp_path / "a/b:c.png")
    assert named_inside(tmp_path, "a") == tmp_path / "a"
    assert named_inside(tmp_path, "a/b:c.png") == tmp_path / "a/b:c.png"


def test_a_link_to_what_comes_later_is_followed_when_it_is_there(tmp_path):
    """A drive that is plugged in, a share that is mounted."""
    drive = tmp_path / "drive"
    base = tmp_path / "models"
    base.mkdir()
    link(base / "more", drive)
    make_old(base)
    assert files_below(base) == ()
    put(drive / "config.json")
    assert files_below(base) == ("more/config.json",)
