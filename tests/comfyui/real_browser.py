"""A browser with ComfyUI in it, driven as a user would."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from real_server import Server

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
PACK_NAME = "lumina-mgpt-personalization"
LISTEN = """() => {
  window.ended = null;
  window.said = [];
  window.shown = 0;
  for (const kind of ["execution_success", "execution_error", "execution_interrupted"])
    app.api.addEventListener(
      kind, event => { window.ended ??= event.detail.exception_message ?? kind; }, { once: true });
  app.api.addEventListener("progress_text", event => window.said.push(event.detail.text));
}"""


@contextmanager
def started_browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


def set_options(server: Server, options: dict) -> None:
    """ComfyUI's own settings, by name."""
    body = json.dumps(options).encode()
    urlopen(Request(f"{server.address}/api/settings", body, {"Content-Type": "application/json"}))


def open_comfyui(browser: Browser, server: Server, scale: float = 1) -> Page:
    """A page of 1920 x 1080 with ComfyUI, ready for use; `scale`: pixels of a screenshot per pixel of the page."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080}, device_scale_factor=scale)
    page.goto(server.address)
    page.wait_for_function("window.app?.graph && window.app?.extensionManager", timeout=120_000)
    return page


def open_template(page: Page, name: str) -> None:
    """Through the template browser, as a user does."""
    page.get_by_role("button", name="Templates").first.click()
    page.get_by_text(PACK_NAME).first.click()
    page.get_by_test_id(f"template-workflow-{name}").click()
    page.wait_for_function("app.graph._nodes.some(node => node.type.startsWith('LuminaMGPT'))", timeout=60_000)
    page.wait_for_timeout(1500)


def open_as_app(page: Page) -> None:
    page.evaluate("async () => { await app.extensionManager.command.execute('Comfy.ToggleLinear') }")
    page.wait_for_timeout(1500)
    welcome = page.get_by_role("button", name="Skip", exact=True)
    if welcome.count():
        welcome.first.click()


def press_run(page: Page, mode: str) -> None:
    page.evaluate(LISTEN)
    button = {"app": "linear-run-button-icon"}.get(mode, "queue-button")
    page.get_by_test_id(button).first.click()


def settle(page: Page, seconds: float) -> str:
    """Wait for the end of a run: "execution_success", or the error's message."""
    page.wait_for_function("window.ended", timeout=seconds * 1000)
    page.wait_for_timeout(2000)
    return page.evaluate("window.ended").strip()
