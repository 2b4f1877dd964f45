"""Which room may import which: the map of the repository, checked against every import statement."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "nodes/host",
    "ar_core/families",
    "ar_core/image_tokenizer",
    "ar_core/checkpoints",
    "ar_core/training",
    "ar_core/sampling",
    "ar_core/quantization",
    "ar_core/dreambench",
    "ar_core/dreambench/measures",
    "ar_core/miniature/weights",
    "ar_core/miniature/scorers",
    "ar_core/commands",
    "workshop/world",
    "workshop/making",
    "workshop/evaluation",
    "example_subjects",
    "learned_subjects",
    "example_workflows",
    "web/docs",
    "tests",
    "benchmarks/common",
    "docs",
)
COMFYUI = ("comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server")
NODE_INTERFACE = {"comfy_api.latest.io", "comfy_api.latest.ui"}  # what a node may import of ComfyUI itself
SHARED_BY_NODES = {
    "nodes.connected",
    "nodes.encoders",
    "nodes.host",
    "nodes.loading",
    "nodes.sockets",
    "nodes.step_selection",
    "nodes.training_view",
}


def module_name(path: Path) -> str:
    """ "ar_core/sampling/rule.py" -> "ar_core.sampling.rule"; a package is named by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every name that a file imports, wherever in the file: "ar_core.photos.stack" for `from ..photos import stack`."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            module = start + (node.module.split(".") if node.module else [])
            yield from (".".join([*module, alias.name]) for alias in node.names)


def of(names: Iterable[str], packages: Iterable[str]) -> set[str]:
    """Those of `names` that are one of `packages`, or in one."""
    return {name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages)}


def wrong(folder: str, forbidden: Iterable[str]) -> set[str]:
    """One line for each import of `forbidden` modules below `folder`."""
    found = set()
    for path in files(folder):
        found |= lines(path, of(imports(path), forbidden))
    return found


def lines(path: Path, names: set[str]) -> set[str]:
    return {f"{module_name(path)} imports {name}" for name in names}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folder_exists(folder):
    assert (ROOT / folder).is_dir()


def test_the_engine_imports_nothing_that_is_built_on_it():
    assert wrong("ar_core", ("nodes", "workshop", "benchmarks", "tests", *COMFYUI)) == set()


def test_nodes_import_no_workshop():
    assert wrong("nodes", ("workshop", "benchmarks", "tests")) == set()


def test_only_the_host_imports_comfyui():
    found = set()
    for path in files("nodes"):
        allowed = set(NODE_INTERFACE)
        if path.name == "__init__.py":
            allowed.add("comfy_api.latest.ComfyExtension")  # what ComfyUI loads
        if path.name == "sockets.py":
            allowed.add("comfy.model_patcher.ModelPatcher")  # what travels along a wire
        if path.parent.name != "host":
            found |= lines(path, of(imports(path), COMFYUI) - allowed)
    assert found == set()


def test_nodes_import_nothing_of_one_another():
    found = set()
    for path in files("nodes"):
        if module_name(path) == "nodes":
            continue  # the list of all of them
        names = of(imports(path), ["nodes"])
        found |= lines(path, names - of(names, SHARED_BY_NODES))
    assert found == set()


def test_the_workshop_imports_neither_nodes_nor_benchmarks():
    assert wrong("workshop", ("nodes", "benchmarks", "tests", *COMFYUI)) == set()


def test_in_the_workshop_the_world_comes_first_then_making_then_evaluation():
    assert wrong("workshop/world", ("workshop.making", "workshop.evaluation")) == set()
    assert wrong("workshop/making", ("workshop.evaluation",)) == set()


def test_benchmarks_import_neither_nodes_nor_tests():
    started_by_comfyui = "benchmarks.card.comfyui_draw imports"
    found = wrong("benchmarks", ("nodes", "tests", *COMFYUI))
    assert {line for line in found if not line.startswith(started_by_comfyui)} == set()


def test_tests_import_no_other_tests():
    found = set()
    for path in files("tests"):
        modules = {name.removeprefix("tests.").removeprefix("comfyui.").split(".")[0] for name in imports(path)}
        found |= lines(path, {name for name in modules if name.startswith("test_")})
    assert found == set()


def test_architecture_is_the_ground_floor():
    """Attention, cache and families stand on it, so it stands on nothing of the engine."""
    assert of(imports(ROOT / "ar_core/architecture.py"), ["ar_core"]) == set()


def test_no_file_of_the_engine_imports_itself_in_a_circle():
    modules = {module_name(path): path for path in files("ar_core")}
    needs = {name: needed(name, path, modules) for name, path in modules.items()}
    while free := [name for name, others in needs.items() if not others]:
        for name in free:
            del needs[name]
        needs = {name: others - set(free) for name, others in needs.items()}
    assert needs == {}, "these import one another in a circle, or something that does"


def needed(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules that an import of module `name` runs first, packages above them included.

    Packages that `name` itself lies in are left out: they are being imported already.
    """
    found = set()
    for imported in imports(path):
        parts = imported.split(".")
        found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & set(modules)
    return {other for other in found if not f"{name}.".startswith(f"{other}.")}


def test_measures_see_vectors_and_no_files():
    forbidden = (
        "ar_core.files",
        "ar_core.photos",
        "ar_core.dreambench.encoder_files",
        "ar_core.dreambench.scoring",
        "PIL",
    )
    assert wrong("ar_core/dreambench/measures", forbidden) == set()
