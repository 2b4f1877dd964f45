"""What ComfyUI sees of the pack: ids, tooltips, help, workflows."""

import json
import re

import pytest
from graphs import PACK, WORKFLOWS, workflow

IDS = {
    "LuminaMGPTLoadModel",
    "LuminaMGPTSubjectPhotos",
    "LuminaMGPTLearnIdentifier",
    "LuminaMGPTFineTuneTransformer",
    "LuminaMGPTApplyPersonalization",
    "LuminaMGPTSavePersonalization",
    "LuminaMGPTLoadPersonalization",
    "LuminaMGPTPrompts",
    "LuminaMGPTSampler",
    "LuminaMGPTDreamBenchScore",
}


@pytest.fixture(scope="module")
def ours(base):
    import nodes

    return {name: cls for name, cls in nodes.NODE_CLASS_MAPPINGS.items() if name.startswith("LuminaMGPT")}


def test_the_ids_are_final(ours):
    assert set(ours) == IDS


def test_every_input_and_node_explains_itself(ours):
    for name, cls in ours.items():
        schema = cls.GET_SCHEMA()
        assert schema.category == "AR Personalization" and schema.description, name
        for entry in schema.inputs:
            assert entry.tooltip and len(entry.tooltip) > 10, f"{name}.{entry.id}"


def test_a_fresh_training_node_never_randomises_its_seed(ours):
    for name in ("LuminaMGPTLearnIdentifier", "LuminaMGPTFineTuneTransformer"):
        inputs = {entry.id: entry for entry in ours[name].GET_SCHEMA().inputs}
        assert "seed" not in inputs and not inputs["training_seed"].control_after_generate


def test_a_fresh_photo_node_shows_an_example_that_is_in_its_list(ours):
    (folder,) = [entry for entry in ours["LuminaMGPTSubjectPhotos"].GET_SCHEMA().inputs if entry.id == "folder"]
    assert folder.default == "example: cream_cat" and folder.default in folder.options


def test_every_node_has_a_help_page(ours):
    for name in ours:
        page = PACK / "web" / "docs" / f"{name}.md"
        assert page.is_file() and len(page.read_text(encoding="utf-8")) > 300, name
    assert {path.stem for path in (PACK / "web" / "docs").glob("*.md")} == set(ours)


def test_model_folders_exist_and_are_known(base):
    import folder_paths

    for name in ("lumina_mgpt", "lumina_mgpt_subjects"):
        assert (base / "models" / name).is_dir()
        assert str(base / "models" / name) in folder_paths.get_folder_paths(name)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_both_forms_of_every_workflow_hold_the_same_nodes(name):
    """The browser test compares every value; this one needs no browser."""
    graph = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    drawn = sorted(node["type"] for node in graph["nodes"] if node["type"] not in ("Note", "MarkdownNote"))
    assert drawn == sorted(node["class_type"] for node in workflow(name).values())
    assert any(node["type"] in ("Note", "MarkdownNote") for node in graph["nodes"])
    assert (PACK / "workflows" / f"{name}.jpg").is_file()


def test_no_workflow_is_forgotten():
    assert sorted(path.stem for path in (PACK / "workflows").glob("*.json")) == sorted(WORKFLOWS)
    assert sorted(path.stem for path in (PACK / "workflows" / "api").glob("*.json")) == sorted(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_use_core_nodes_and_ours_only(name, base):
    import nodes

    for node in workflow(name).values():
        module = getattr(nodes.NODE_CLASS_MAPPINGS[node["class_type"]], "RELATIVE_PYTHON_MODULE", "nodes")
        assert not module.startswith("custom_nodes") or node["class_type"] in IDS


def test_the_engine_knows_neither_comfyui_nor_the_workshop_and_the_pack_no_accelerate():
    for folder, foreign in (
        ("ar_core", "comfy|comfy_api|folder_paths|server|nodes|workshop"),
        ("nodes", "accelerate|workshop"),
    ):
        for path in (PACK / folder).rglob("*.py"):
            assert not re.search(rf"^\s*(from|import) ({foreign})\b", path.read_text(encoding="utf-8"), re.M), path


def test_one_template_folder_only():
    """ComfyUI serves templates from the first of these folders; with two, ours would open as "not found"."""
    accepted = ("example_workflows", "example", "examples", "workflow", "workflows")
    assert [name for name in accepted if (PACK / name).exists()] == ["workflows"]
