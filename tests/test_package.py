"""What users install from: requirements, pyproject.toml and the archive that the Comfy Registry hands out."""

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# What ComfyUI and the command line read.
NEEDED = ("__init__.py", "ar_core", "nodes", "web", "example_workflows", "example_subjects", "learned_subjects")
FILES = ("pyproject.toml", "requirements.txt", "README.md", "CHANGELOG.md", "LICENSE")


def lines(name: str) -> list[str]:
    """The requirements that a file in the root lists."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def git_files(*options: str) -> list[str]:
    """Tracked files, by the options of `git ls-files`."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("the published archive is made of what git tracks, and this is no checkout")
    command = ["git", "ls-files", "-z", "--cached", *options]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in output.split("\0") if name]


@pytest.fixture(scope="module")
def left_out() -> set[str]:
    """The tracked files that .comfyignore keeps out of the published archive."""
    return set(git_files("--ignored", "--exclude-from=.comfyignore"))


def test_both_lists_of_requirements_are_the_same():
    assert PYPROJECT["project"]["dependencies"] == lines("requirements.txt")


def test_what_is_optional_is_part_of_the_development_environment():
    optional = PYPROJECT["project"]["optional-dependencies"]
    assert {optional["parallel"][0], optional["log"][0]} <= set(lines("requirements-dev.txt"))


def test_the_newest_entry_of_the_changelog_is_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0] == f"## {PYPROJECT['project']['version']}"


@pytest.mark.parametrize("field, ratio", [("Icon", 1), ("Banner", 21 / 9)])
def test_icon_and_banner_lie_where_the_registry_looks_for_them(field, ratio):
    raw = PYPROJECT["project"]["urls"]["Repository"].replace("github.com", "raw.githubusercontent.com")
    address = PYPROJECT["tool"]["comfy"][field]
    assert address.startswith(f"{raw}/main/")
    picture = ElementTree.parse(ROOT / address.removeprefix(f"{raw}/main/")).getroot()
    assert int(picture.get("width")) / int(picture.get("height")) == pytest.approx(ratio)
    assert field != "Icon" or int(picture.get("width")) <= 400


def test_the_published_archive_holds_what_comfyui_and_the_command_line_read(left_out):
    assert {name for name in left_out if name.split("/")[0] in (*NEEDED, *FILES)} == set()


def test_the_published_archive_leaves_out_what_only_developers_need(left_out):
    kept = {name.split("/")[0] for name in set(git_files()) - left_out}
    assert kept - {".comfyignore", ".gitignore"} == {*NEEDED, *FILES, "docs"}


def test_every_module_of_the_engine_is_imported_from_the_published_archive(left_out, tmp_path):
    """What nodes import of other rooms is the engine alone, as tests/test_house.py checks."""
    for name in set(git_files("ar_core")) - left_out:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    code = (
        "import importlib, pkgutil, ar_core\n"
        "for module in pkgutil.walk_packages(ar_core.__path__, 'ar_core.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "print(ar_core.__file__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / "ar_core" / "__init__.py"
