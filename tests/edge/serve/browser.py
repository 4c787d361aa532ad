"""The page in a real Chromium, driven by Playwright."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge.serve import site

# Nothing but the page is fetched, and the webcam is a simulated one that is always allowed.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--js-flags=--no-wasm-tier-up --wasm-num-compilation-tasks=1",  # each page compiles the runtime again
]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
WAIT_MS = 60_000  # on a busy machine


@contextmanager
def chromium() -> Iterator[Any]:
    """The system's Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("playwright isn't installed (pip install '.[dev]')")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.skip("there is no Chromium (apt install chromium)")
    if not site.is_built():
        pytest.skip("the page isn't built (make web)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


class Page:
    """The actions of a user on the page."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        from playwright.sync_api import expect

        self.expect = expect
        self.context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **context})
        self.context.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        self.page = self.context.new_page()
        self.requests: list[Any] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.url = url

    def open(self, ready: str = "Ready") -> "Page":
        self.page.goto(self.url)
        self.says(ready)
        return self

    def says(self, text: str) -> None:
        self.expect(self.page.locator("#status")).to_contain_text(text)

    def complains(self, text: str) -> None:
        self.expect(self.page.get_by_role("alert")).to_contain_text(text)

    def until(self, condition: str) -> None:
        """Waits until a JavaScript condition is true; Playwright's own way needs `eval`, which the page forbids."""
        for _ in range(WAIT_MS // 50):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(condition)

    def choose(self, name: str, content: bytes, kind: str = "image/png") -> None:
        self.page.locator("#files").set_input_files({"name": name, "mimeType": kind, "buffer": content})

    def model(self, name: str) -> None:
        """Chooses a model, and waits until it is loaded."""
        self.forget()
        self.page.locator("#model").select_option(name)
        self.expect(self.page.locator("#status")).to_contain_text(re.compile("Ready|Done|was found"))

    def forget(self) -> None:
        """Clears the page's last message."""
        self.page.evaluate("document.getElementById('status').textContent = ''")

    def done(self) -> None:
        """Waits until a photo is segmented, whatever was found."""
        self.expect(self.page.locator("#status")).to_contain_text(re.compile("Done|was found"))
        self.expect(self.page.locator("#save-labels")).to_be_enabled()

    def cut(self, name: str, content: bytes, kind: str = "image/png") -> None:
        """Adds a photo, and waits until it is done."""
        self.forget()
        self.choose(name, content, kind)
        self.done()

    def effect(self, name: str) -> None:
        self.page.get_by_role("radio", name=name).check()
        self.expect(self.page.locator("body")).not_to_have_class("busy")

    def unfold(self) -> None:
        """Opens the details."""
        self.page.evaluate("document.getElementById('details').open = true")

    def save(self, name: str) -> np.ndarray:
        """The picture that a button of this name saves, as stored."""
        return cv2.imdecode(np.frombuffer(self.saved(name), np.uint8), cv2.IMREAD_UNCHANGED)

    def saved(self, name: str) -> bytes:
        """The file that a button of this name saves."""
        self.unfold()
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=name).click()
        return Path(download.value.path()).read_bytes()

    def labels(self, name: str, content: bytes, kind: str = "image/png") -> np.ndarray:
        """The label map the page makes of a file."""
        self.cut(name, content, kind)
        return self.save("Save label map")

    def close(self) -> None:
        self.context.close()
        assert self.errors == []
