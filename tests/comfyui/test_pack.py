"""What ComfyUI sees of the pack: ids, tooltips, help, workflows."""

import json
import re

import pytest
from graphs import PACK, TEMPLATES, WORKFLOWS, workflow

IDS = {
    "LuminaMGPTLoadModel",
    "LuminaMGPTLoadJanusPro",
    "LuminaMGPTSubjectPhotos",
    "LuminaMGPTLearnIdentifier",
    "LuminaMGPTFineTuneTransformer",
    "LuminaMGPTApplyPersonalization",
    "LuminaMGPTSavePersonalization",
    "LuminaMGPTLoadPersonalization",
    "LuminaMGPTPrompts",
    "LuminaMGPTSampler",
    "LuminaMGPTDreamBenchScore",
    "LuminaMGPTRememberedTrainings",
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
    graph = json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))
    drawn = sorted(node["type"] for node in graph["nodes"] if node["type"] not in ("Note", "MarkdownNote"))
    assert drawn == sorted(node["class_type"] for node in workflow(name).values())
    assert any(node["type"] in ("Note", "MarkdownNote") for node in graph["nodes"])
    assert (TEMPLATES / f"{name}.jpg").is_file()


def test_no_workflow_is_forgotten():
    assert len(WORKFLOWS) == 10
    assert sorted(path.stem for path in (TEMPLATES / "api").glob("*.json")) == sorted(WORKFLOWS.values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_is_an_app_with_few_inputs_and_one_result(name):
    graph = json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))
    app = graph["extra"]["linearData"]
    assert graph["extra"]["linearMode"] is False  # opened as a graph, and switched
    assert 2 <= len(app["inputs"]) <= 6 and len(app["outputs"]) == 1
    nodes = workflow(name)
    for number, widget in app["inputs"]:
        if widget != "upload_photos":  # a button
            assert not isinstance(nodes[number]["inputs"][widget], list)
    assert nodes[app["outputs"][0]]["class_type"] in ("SaveImage", "PreviewImage")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_is_readable_when_it_opens(name):
    """The frontend fits a graph into three quarters of the window: at 1920x1080 its widgets are readable above 60 %."""
    graph = json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))
    boxes = [(*node["pos"], *node["size"]) for node in graph["nodes"]] + [g["bounding"] for g in graph["groups"]]
    width = max(x + w for x, _, w, _ in boxes) - min(x for x, *_ in boxes)
    height = max(y + h for _, y, _, h in boxes) - min(y for _, y, *_ in boxes)
    assert min(0.75 * 1920 / width, 0.75 * 1080 / height) > 0.6
    assert len(graph["groups"]) >= 3 and all(group["font_size"] >= 40 for group in graph["groups"])


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
    assert [name for name in accepted if (PACK / name).exists()] == ["example_workflows"]
