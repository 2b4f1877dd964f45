"""The wheel: holds the engine and its data, and its commands work in an empty folder without the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SOURCES = (
    "pyproject.toml",
    "requirements.txt",
    "README.md",
    "LICENSE",
    "ar_core",
    "example_subjects",
    "learned_subjects",
)
IGNORED = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that the wheel is installed into, built from a copy: a build leaves folders beside its sources."""
    sources = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=IGNORED)
        else:
            shutil.copy(ROOT / name, sources / name)
    wheels = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", wheels, sources)
    (wheel,) = wheels.glob("*.whl")
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", target, wheel)
    return target


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def run(installed, tmp_path):
    """Runs a command of the installed package in an empty folder; gives what it prints."""

    def run(*command) -> str:
        environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def ar_core(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "ar_core", *arguments)


def test_the_wheel_holds_every_file_of_the_engine_and_nothing_else(installed):
    def files(folder: Path) -> set[str]:
        paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return {path for path in paths if "__pycache__" not in path}

    shipped = ("example_subjects", "learned_subjects")
    data = {f"{folder}/{path}" for folder in shipped for path in files(ROOT / folder)}
    assert files(installed / "ar_core") == files(ROOT / "ar_core") | data
    others = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert others == {"ar_core", "bin"} or others == {"ar_core", "Scripts"}


def test_the_console_script_is_the_command_line(installed, run):
    script = shutil.which("ar-personalize", path=os.pathsep.join([str(installed / "bin"), str(installed / "Scripts")]))
    assert run(script, "--help").startswith("usage: ar-personalize ")
    assert "Apache-2.0" in run(script, "info")


def test_info(run):
    assert "Apache-2.0" in run(*ar_core("info"))
    assert "embedding_steps            1500" in run(*ar_core("info", "--recipe", "paper"))


def test_sample(run, tmp_path):
    run(*ar_core("sample", "--prompt", "a photo of a red dog on the beach", "--out", "pictures"))
    (picture,) = (tmp_path / "pictures").glob("*.png")
    assert Image.open(picture).size == (96, 96)


def test_help_of_commands_that_take_long(run):
    assert "--photos" in run(*ar_core("demo", "--help"))
    assert "--images" in run(*ar_core("score", "--data", "miniature", "--help"))
    assert "--recipe" in run(*ar_core("dreambench", "--help"))


def test_the_demos_photos_are_in_the_wheel(run):
    code = "from ar_core.shipped import example_subjects; print(len(list(example_subjects().glob('lilac_dog/*.png'))))"
    assert int(run(sys.executable, "-c", code)) >= 3


def test_a_picture_of_a_drawn_subject_is_scored(run, tmp_path):
    """`score --data miniature` with the data set and the encoders that are in the wheel."""
    run(*ar_core("sample", "--prompt", "a photo of a purple mug", "--out", "pictures/purple_mug"))
    said = run(*ar_core("score", "--images", "pictures", "--data", "miniature", "--out", "scores"))
    assert "1 subject(s), 1 pictures" in said and "mini-ID" in said
    assert (tmp_path / "scores" / "purple_mug.png").is_file()


def test_the_drawn_subjects_are_benchmarked(run, tmp_path):
    said = run(*ar_core("dreambench", "--data", "miniature", "--device", "cpu", "--dry-run"))
    assert ": 112 units (one training each, or none for the base), 1120 pictures" in said and "note:" not in said
    assert list(tmp_path.iterdir()) == []


def test_types_are_published(installed):
    assert (installed / "ar_core" / "py.typed").is_file()
