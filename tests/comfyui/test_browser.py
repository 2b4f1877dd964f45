"""Every workflow in a real browser: opened from the template list, run, and looked at.

Screenshots go to the folder named by SCREENSHOTS, by default this session's temporary one.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from graphs import WORKFLOWS, workflow
from real_server import Server

playwright = pytest.importorskip(
    "playwright.sync_api", reason="pip install playwright into ComfyUI's Python to run the browser tests"
)
CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
if not CHROMIUM:
    pytest.skip("no Chromium found: install it or set CHROMIUM to run the browser tests", allow_module_level=True)

PACK_NAME = "lumina-mgpt-personalization"
FIT = """() => {
  const nodes = app.graph._nodes, canvas = app.canvas;
  const x0 = Math.min(...nodes.map(n => n.pos[0])), y0 = Math.min(...nodes.map(n => n.pos[1] - 40));
  const x1 = Math.max(...nodes.map(n => n.pos[0] + n.size[0])), y1 = Math.max(...nodes.map(n => n.pos[1] + n.size[1]));
  const scale = Math.min((canvas.canvas.width - 140) / (x1 - x0), (canvas.canvas.height - 170) / (y1 - y0), 1);
  canvas.ds.scale = scale; canvas.ds.offset = [-x0 + 70 / scale, -y0 + 90 / scale];
  app.graph.setDirtyCanvas(true, true);
}"""
OVERLAPS = """() => {
  const bar = 30, nodes = app.graph._nodes, found = [];
  nodes.forEach((a, i) => nodes.slice(i + 1).forEach(b => {
    const across = a.pos[0] < b.pos[0] + b.size[0] && b.pos[0] < a.pos[0] + a.size[0];
    const down = a.pos[1] - bar < b.pos[1] + b.size[1] && b.pos[1] - bar < a.pos[1] + a.size[1];
    if (across && down) found.push(`${a.title} / ${b.title}`);
  }));
  return found;
}"""

SHORTEN = """() => { for (const node of app.graph._nodes) for (const widget of node.widgets ?? []) {
  if (widget.name === "steps") widget.value = 12;
  if (widget.name === "lines") widget.value = widget.value.split("\\n").slice(0, 2).join("\\n");
} }"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("browser")) as started:
        settings = json.dumps({"Comfy.TutorialCompleted": True}).encode()
        urlopen(Request(f"{started.address}/api/settings", settings, {"Content-Type": "application/json"}))
        yield started


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server):
    page = browser.new_page(viewport={"width": 2400, "height": 1300})
    page.goto(server.address)
    page.wait_for_function("window.app?.graph && window.app?.extensionManager", timeout=120_000)
    yield page
    page.close()


def screenshots(tmp_path_factory) -> Path:
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.getbasetemp() / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_template(page, name: str) -> None:
    """Through the template browser, as a user does."""
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Templates").first.click()
    page.get_by_text(PACK_NAME).first.click()
    page.get_by_test_id(f"template-workflow-{name}").click()
    page.wait_for_function("app.graph._nodes.some(node => node.type.startsWith('LuminaMGPT'))", timeout=60_000)
    page.wait_for_timeout(1000)


def settle(page, seconds: float) -> str:
    """Press Run and wait for its end: "execution_success", or the error's message."""
    page.evaluate(
        """() => { window.ended = null;
          for (const kind of ["execution_success", "execution_error", "execution_interrupted"])
            app.api.addEventListener(
              kind, event => { window.ended ??= event.detail.exception_message ?? kind; }, { once: true }); }"""
    )
    page.get_by_test_id("queue-button").first.click()
    page.wait_for_function("window.ended", timeout=seconds * 1000)
    return page.evaluate("window.ended").strip()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow(name, page, tmp_path_factory):
    folder = screenshots(tmp_path_factory)
    open_template(page, name)
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    expected = workflow(name)
    assert {k: v["class_type"] for k, v in prompt.items()} == {k: v["class_type"] for k, v in expected.items()}
    for key, node in expected.items():
        inputs = prompt[key]["inputs"]
        both = inputs.keys() & node["inputs"].keys()
        if node["class_type"].startswith("LuminaMGPT"):
            assert inputs.keys() == node["inputs"].keys()  # core's own nodes gain and lose inputs with time
        assert {name: inputs[name] for name in both} == {name: node["inputs"][name] for name in both}
    assert page.evaluate(OVERLAPS) == []
    page.evaluate(SHORTEN)
    end = settle(page, 300)
    assert end == "execution_success"
    page.wait_for_function("app.graph._nodes.some(n => n.imgs?.length)", timeout=60_000)
    page.wait_for_timeout(1500)
    assert page.evaluate(OVERLAPS) == []  # nodes grow with their texts and previews
    page.evaluate(FIT)
    page.wait_for_timeout(1000)
    page.screenshot(path=folder / f"{name}.png")
