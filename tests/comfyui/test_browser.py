"""Every template in a real browser: opened from the template list, run, and looked at, in every way of showing it.

Screenshots go to the folder named by SCREENSHOTS, by default this session's temporary one.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from graphs import JANUS, LEARNING, PACK, WORKFLOWS, workflow
from real_browser import (
    CHROMIUM,
    LISTEN,
    open_as_app,
    open_comfyui,
    open_template,
    press_run,
    set_options,
    settle,
    started_browser,
)
from real_server import Server
from template_models import write_janus_and_upscaler

pytest.importorskip(
    "playwright.sync_api", reason="pip install playwright into ComfyUI's Python to run the browser tests"
)
if not CHROMIUM:
    pytest.skip("no Chromium found: install it or set CHROMIUM to run the browser tests", allow_module_level=True)

OVERLAPS = """() => {
  const bar = 30, nodes = app.graph._nodes.filter(node => !node.flags.collapsed), found = [];
  nodes.forEach((a, i) => nodes.slice(i + 1).forEach(b => {
    const across = a.pos[0] < b.pos[0] + b.size[0] && b.pos[0] < a.pos[0] + a.size[0];
    const down = a.pos[1] - bar < b.pos[1] + b.size[1] && b.pos[1] - bar < a.pos[1] + a.size[1];
    if (across && down) found.push(`${a.title} / ${b.title}`);
  }));
  return found;
}"""

MODES = ("classic", "nodes 2.0", "app")
SHORTEN = """(seed) => { for (const node of app.graph._nodes) for (const widget of node.widgets ?? []) {
  if (widget.name === "steps") widget.value = 12;
  if (widget.name === "training_seed") widget.value = seed;
  if (widget.name === "lines") widget.value = widget.value.split("\\n").slice(0, 2).join("\\n");
} }"""
SET_STEPS = """(steps) => { for (const node of app.graph._nodes) for (const widget of node.widgets ?? [])
  if (widget.name === "steps") widget.value = steps; }"""
SHOWS_PICTURES = """() => app.graph._nodes.some(node => node.imgs?.length) ||
  document.querySelectorAll('img[src*="filename="]').length"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    with started_browser() as chromium:
        yield chromium


@pytest.fixture
def open_page(browser, server):
    """Opens ComfyUI in one of MODES; skips those that this frontend does not have."""
    opened = []

    def open_in(mode: str):
        set_options(server, {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": mode != "classic"})
        page = open_comfyui(browser, server)
        opened.append(page)
        if mode != "classic" and not page.evaluate(
            "app.extensionManager.command.commands.some(command => command.id === 'Comfy.ToggleLinear')"
        ):
            pytest.skip(f"this frontend has no {mode}")
        page.wait_for_timeout(2000)
        return page

    yield open_in
    for page in opened:
        page.close()


def screenshot(page, tmp_path_factory, name: str, mode: str, when: str) -> None:
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.getbasetemp() / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}, {mode}, {when}.png")


def compare_with_api_form(page, name: str) -> None:
    """The graph that opened asks for exactly what the API form of the template does."""
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    expected = workflow(name)
    assert {k: v["class_type"] for k, v in prompt.items()} == {k: v["class_type"] for k, v in expected.items()}
    for key, node in expected.items():
        inputs = prompt[key]["inputs"]
        both = inputs.keys() & node["inputs"].keys()
        if node["class_type"].startswith("LuminaMGPT"):
            assert inputs.keys() == node["inputs"].keys()  # core's own nodes gain and lose inputs with time
        assert {name: inputs[name] for name in both} == {name: node["inputs"][name] for name in both}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_template(name, mode, open_page, server, tmp_path_factory):
    if name == JANUS:
        write_janus_and_upscaler(server.base / "models")
    page = open_page(mode)
    open_template(page, name)
    compare_with_api_form(page, name)
    if mode == "app":
        open_as_app(page)
    else:
        assert page.evaluate("app.canvas.ds.scale") > 0.6
        assert page.evaluate(OVERLAPS) == []
    screenshot(page, tmp_path_factory, name, mode, "opened")
    page.evaluate(SHORTEN, MODES.index(mode))
    press_run(page, mode)
    assert settle(page, 300) == "execution_success"
    page.wait_for_function(SHOWS_PICTURES, timeout=60_000)
    if mode != "app":
        assert page.evaluate(OVERLAPS) == []  # nodes grow with their texts and previews
    screenshot(page, tmp_path_factory, name, mode, "run")


@pytest.mark.parametrize("mode", MODES)
def test_a_cancelled_training_goes_on(mode, open_page, tmp_path_factory):
    page = open_page(mode)
    open_template(page, LEARNING)
    page.evaluate(SHORTEN, 100 + MODES.index(mode))
    page.evaluate(SET_STEPS, 400)
    if mode == "app":
        open_as_app(page)
    press_run(page, mode)
    page.wait_for_function("window.said.some(text => text.includes(' of 400, '))", timeout=120_000)
    screenshot(page, tmp_path_factory, LEARNING, mode, "training")
    page.evaluate("app.api.interrupt()")
    assert settle(page, 60) == "execution_interrupted"
    assert "kept" in page.evaluate("window.said.at(-1)")
    page.evaluate(SET_STEPS, 12)
    press_run(page, mode)
    assert settle(page, 300) == "execution_success"
    assert any("went on from step" in text or "remembered" in text for text in page.evaluate("window.said"))


def test_photos_are_uploaded_into_a_folder_and_shown_as_they_are_cropped(
    open_page, server, tmp_path_factory, pack_photos
):
    """Several files in one step; then the node runs alone, and nothing is trained."""
    page = open_page("classic")
    open_template(page, LEARNING)
    page.evaluate(
        """([files]) => { window.node = app.graph._nodes.find(node => node.type === "LuminaMGPTSubjectPhotos");
          const data = files.map(([name, text]) =>
            new File([Uint8Array.from(atob(text), letter => letter.charCodeAt(0))], name, { type: "image/png" }));
          window.node.onDragDrop({ dataTransfer: { files: data } }); }""",
        [pack_photos],
    )
    page.evaluate(LISTEN)
    for question, answer in (("Which folder", "my dog"), ("What do the photos show", "dog")):
        page.get_by_role("dialog").get_by_text(question).wait_for()
        page.get_by_role("dialog").get_by_role("textbox").fill(answer)
        page.get_by_role("dialog").get_by_role("textbox").press("Enter")
    assert settle(page, 60) == "execution_success"
    assert page.evaluate("window.node.widgets.find(w => w.name === 'folder').value") == "my dog"
    assert len(list((server.base / "input" / "my dog").iterdir())) == len(pack_photos)
    page.wait_for_function("window.node.imgs?.length", timeout=30_000)
    said = page.evaluate("window.said")
    assert any(f"{len(pack_photos)} photos of one dog" in text for text in said)
    assert not any("step" in text for text in said)  # nothing behind it ran
    screenshot(page, tmp_path_factory, LEARNING, "classic", "photos")


@pytest.fixture
def pack_photos() -> list[list[str]]:
    """Name and contents, as base64, of some photos."""
    files = sorted((PACK / "example_subjects" / "lilac_dog").glob("*.png"))[:3]
    return [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]


def test_the_arrows_of_the_learning_rate_change_its_first_digit(open_page):
    page = open_page("classic")
    open_template(page, LEARNING)
    steps = page.evaluate(
        """() => { const node = app.graph._nodes.find(node => node.type === "LuminaMGPTFineTuneTransformer");
          const widget = node.widgets.find(widget => widget.name === "learning_rate");
          return [0, 0.00003, 0.0002, 0.01].map(value => {
            widget.value = value; widget.callback(value); return widget.options.step2; }); }"""
    )
    assert steps == pytest.approx([1e-4, 1e-5, 1e-4, 1e-2])


RECIPES = """() => app.graph._nodes.filter(node => node.widgets?.some(widget => widget.name === "recipe"))
  .map(node => node.widgets.find(widget => widget.name === "recipe").value)"""
DEPTH = """() => app.graph._nodes.flatMap(node => node.widgets ?? []).filter(widget => widget.name === "depth")
  .map(widget => widget.value)"""


@pytest.mark.parametrize("mode", ["classic", "nodes 2.0"])
def test_a_workflow_from_before_there_were_recipes_and_depths_keeps_the_papers(mode, open_page):
    """Fresh nodes take ours; what was saved is not changed by that, and what is saved now comes back as it is."""
    page = open_page(mode)
    saved = PACK / "tests" / "fixtures" / "saved_0f6fd39" / "workflows" / "personalize_subject.json"
    graph = json.loads(saved.read_text(encoding="utf-8"))
    page.evaluate("async graph => { await app.loadGraphData(graph) }", graph)
    page.wait_for_timeout(1000)
    assert page.evaluate(RECIPES) == ["paper", "paper"]
    assert page.evaluate(DEPTH) == [1]  # the embedding
    again = page.evaluate("() => app.graph.serialize()")
    page.evaluate("() => { app.graph.clear(); app.graph.add(LiteGraph.createNode('LuminaMGPTLearnIdentifier')) }")
    page.wait_for_timeout(500)
    assert page.evaluate(RECIPES) == ["artist (ours)"]
    assert page.evaluate(DEPTH) == [0]  # what the recipe takes
    page.evaluate("async graph => { await app.loadGraphData(graph) }", again)
    page.wait_for_timeout(1000)
    assert page.evaluate(RECIPES) == ["paper", "paper"]
    assert page.evaluate(DEPTH) == [1]
