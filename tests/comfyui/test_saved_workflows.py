"""The templates of an earlier version, as users saved them: every value still lands where it belongs, and they run."""

from __future__ import annotations

import json

import pytest
from graphs import PACK

SAVED = PACK / "tests" / "fixtures" / "saved_0f6fd39" / "workflows"
SAVED_WORKFLOWS = sorted(path.stem for path in SAVED.glob("*.json"))
WIDGETS = ("COMBO", "INT", "FLOAT", "STRING", "BOOLEAN")


def saved(name: str) -> dict:
    return json.loads((SAVED / "api" / f"{name}.json").read_text(encoding="utf-8"))


def shortened(graph: dict) -> dict:
    """Two steps of each training, the first two prompts."""
    for node in graph.values():
        if "training_seed" in node["inputs"]:
            node["inputs"]["steps"] = 2
        if node["class_type"] == "LuminaMGPTPrompts":
            node["inputs"]["lines"] = "\n".join(node["inputs"]["lines"].splitlines()[:2])
    return graph


def widgets(kind: str) -> list[str]:
    """Names of a node's widgets in the order in which the frontend stores their values; "" for one of its own."""
    import nodes

    names = []
    types = nodes.NODE_CLASS_MAPPINGS[kind].INPUT_TYPES()
    for group in ("required", "optional"):
        for name, (type_name, *options) in types.get(group, {}).items():
            chosen = options[0] if options else {}
            if type_name in WIDGETS and not chosen.get("forceInput"):
                names.append(name)
                if chosen.get("control_after_generate"):
                    names.append("")
    return names


@pytest.mark.parametrize("name", SAVED_WORKFLOWS)
def test_the_values_of_a_saved_graph_land_on_their_widgets(name, base):
    expected = saved(name)
    graph = json.loads((SAVED / f"{name}.json").read_text(encoding="utf-8"))
    ours = [node for node in graph["nodes"] if node["type"].startswith("LuminaMGPT")]
    assert ours
    for node in ours:
        values = dict(zip(widgets(node["type"]), node["widgets_values"], strict=False))  # later widgets have defaults
        values.pop("", None)
        wired = {entry["name"] for entry in node["inputs"] if entry.get("link") is not None}
        inputs = expected[str(node["id"])]["inputs"]
        for widget, value in values.items():
            if widget not in wired:
                assert inputs[widget] == value, f"{node['type']}.{widget}"


@pytest.mark.parametrize("name", SAVED_WORKFLOWS)
def test_a_saved_prompt_runs(name, comfy):
    outcome = comfy.run(shortened(saved(name)))
    assert outcome.ok, outcome.error or outcome.refused
