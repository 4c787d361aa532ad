"""Makes the picture of the page for the README: `python docs/make_page_picture.py`, after `make web`.

Needs Chromium and Playwright; shows the sample photo, which anyone may show.
"""

import shutil
import tempfile
from pathlib import Path

import cv2
from playwright.sync_api import sync_playwright

from benchmarks.studies.serve_load import served
from seg_edge.models import DEFAULT_MODEL, bundled_models

PICTURE = Path(__file__).with_name("pictures") / "page.jpg"


def main() -> None:
    """Takes the picture as a person would see it on a laptop."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    others = [word for name in bundled_models() if name != DEFAULT_MODEL for word in ("--model", name)]
    with served(DEFAULT_MODEL, *others) as (port, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_text("Ready").wait_for()
        page.get_by_role("button", name="Try the sample photo").click()
        page.get_by_text("Done.").wait_for()
        page.locator("#divider").press("Home")
        for _ in range(45):
            page.locator("#divider").press("ArrowRight")
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            page.screenshot(path=file.name)
            cv2.imwrite(str(PICTURE), cv2.imread(file.name), [cv2.IMWRITE_JPEG_QUALITY, 85])
        browser.close()


if __name__ == "__main__":
    main()
