"""Takes the pictures of nodes anew: web/docs/images, docs/comfyui.jpg of the README, and the template of Janus-Pro.

    COMFYUI_PATH=~/ComfyUI ~/ComfyUI/.venv/bin/python tests/comfyui/node_pictures.py

Runs the templates in the browser, in a ComfyUI that shows Nodes 2.0, and needs what the browser tests need.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from graphs import JANUS, LEARNING, PACK, SCORING, TEMPLATES
from PIL import Image
from real_browser import (
    LISTEN,
    open_comfyui,
    open_template,
    press_run,
    set_options,
    settle,
    started_browser,
)
from real_server import Server
from template_models import write_janus_and_upscaler

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = PACK / "web" / "docs" / "images"
README_PICTURE = PACK / "docs" / "comfyui.jpg"
README_WIDTH = 1400  # pixels
THUMBNAIL_WIDTH = 616
GRAPH = {"x": 200, "y": 40, "width": 1715, "height": 935}  # where a page shows it: without tabs and side bars
RUN_SECONDS = 1200
OPTIONS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.VueNodes.Enabled": True,
    "Comfy.Minimap.Visible": False,
}
OF_LEARNING = (  # the nodes that the template on learning shows
    "LoadModel",
    "SubjectPhotos",
    "LearnIdentifier",
    "FineTuneTransformer",
    "ApplyPersonalization",
    "Prompts",
    "Sampler",
    "SavePersonalization",
)
OF_SCORING = ("LoadPersonalization", "DreamBenchScore")
ALONE = "RememberedTrainings"
ADD_ALONE = """kind => { app.graph.clear(); const node = LiteGraph.createNode(kind); app.graph.add(node);
  node.pos = [100, 100]; node.setSize([560, 460]); app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; }"""
ZOOM_TO = """kind => { const node = app.graph._nodes.find(node => node.type === kind); app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [200 - node.pos[0], 150 - node.pos[1]]; app.canvas.setDirty(true, true); return node.id; }"""
# Where a page shows all groups, with a little around them.
GROUPS = """() => { const { scale, offset } = app.canvas.ds, margin = 20;
  const boxes = app.graph._groups.map(group => [...group.pos, ...group.size]);
  const left = Math.min(...boxes.map(box => box[0])) - margin, top = Math.min(...boxes.map(box => box[1])) - margin;
  const right = Math.max(...boxes.map(box => box[0] + box[2])) + margin;
  const bottom = Math.max(...boxes.map(box => box[1] + box[3])) + margin;
  const canvas = app.canvas.canvas.getBoundingClientRect();
  return { x: canvas.x + (left + offset[0]) * scale, y: canvas.y + (top + offset[1]) * scale,
    width: (right - left) * scale, height: (bottom - top) * scale }; }"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server, started_browser() as browser:
        set_options(server, OPTIONS)
        page = template_after_a_run(open_comfyui(browser, server), LEARNING)
        save(page.screenshot(clip=GRAPH), README_PICTURE, README_WIDTH)
        take_nodes(page, OF_LEARNING)
        page = template_after_a_run(open_comfyui(browser, server), SCORING)
        take_nodes(page, OF_SCORING)
        page.evaluate(ADD_ALONE, f"LuminaMGPT{ALONE}")
        run(page)
        take_nodes(page, (ALONE,))
        take_janus(browser, server)


def take_janus(browser: Browser, server: Server) -> None:
    """The template with its photos and nothing learned: the tiny model that stands in for Janus-Pro draws noise."""
    write_janus_and_upscaler(server.base / "models")
    page = open_comfyui(browser, server)
    open_template(page, JANUS)
    page.evaluate(LISTEN)
    page.get_by_text("show the photos as they are cropped").first.click()
    settle(page, RUN_SECONDS)
    page.evaluate("app.canvas.deselectAll()")
    page.wait_for_timeout(3000)  # pictures come a moment later
    save(page.screenshot(clip=page.evaluate(GROUPS)), TEMPLATES / f"{JANUS}.jpg", THUMBNAIL_WIDTH)


def template_after_a_run(page: Page, name: str) -> Page:
    open_template(page, name)
    run(page)
    return page


def run(page: Page) -> None:
    """Press Run and wait for the end. Raises SystemExit for a run that failed."""
    press_run(page, "nodes 2.0")
    ended = settle(page, RUN_SECONDS)
    if ended != "execution_success":
        raise SystemExit(f"The run ended with: {ended}")
    page.wait_for_timeout(3000)  # pictures come a moment later


def take_nodes(page: Page, kinds: tuple[str, ...]) -> None:
    """A picture of each node, at its full size."""
    for kind in kinds:
        number = page.evaluate(ZOOM_TO, f"LuminaMGPT{kind}")
        page.wait_for_timeout(800)
        save(page.locator(f'[data-node-id="{number}"]').first.screenshot(), IMAGES / f"{kind}.jpg")


def save(png: bytes, path: Path, width: int | None = None) -> None:
    """As a JPEG, scaled down to `width` pixels if given."""
    image = Image.open(BytesIO(png)).convert("RGB")
    if width is not None:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(path, quality=88)
    print(path.relative_to(PACK), image.size)


if __name__ == "__main__":
    main()
