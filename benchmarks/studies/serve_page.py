"""Is the page as fast as Python, and fast enough for a camera? `python benchmarks/studies/serve_page.py PHOTO`.

Opens the page in the system's Chromium, segments one photo there and with a `Segmenter` here, alternately, and
prints the median milliseconds of each stage, the bytes that the page loads, and how long that takes. Then the photo
becomes a camera's picture, sent again as soon as one is shown with its effect: it prints pictures per second and CPU
time per picture. Needs the page (`make web`), Chromium and Playwright.
"""

from __future__ import annotations

import base64
import os
import platform
import shutil
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.studies.serve_load import served
from seg_edge.commands.console import exit_codes
from seg_edge.models import DEFAULT_MODEL
from seg_edge.photo.read import decode_photo, read_photo
from seg_edge.photo.write import encode_picture
from seg_edge.segmenter import Segmenter
from seg_edge.timing import timed

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]
STAGES = ("decode", "preprocess", "inference", "postprocess")
WARM_UP = 15  # camera pictures before the counted ones
EFFECTS = ("cutout", "blur", "replace", "anonymize", "overlay", "mask")
# An I420 camera, as most are. A picture that the page skipped while busy is sent again.
CAMERA = """
(([width, height], picture) => {
  const content = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
  let writer = null, given = 0, count = 0;
  const next = () => {
    given = performance.now();
    writer?.write(new VideoFrame(content, {
      format: "I420", codedWidth: width, codedHeight: height, timestamp: 33333 * count++,
    }));
  };
  window.drawn = 0;
  const draw = ImageBitmapRenderingContext.prototype.transferFromImageBitmap;
  ImageBitmapRenderingContext.prototype.transferFromImageBitmap = function (picture) {
    window.drawn++;
    draw.call(this, picture);
    next();
  };
  navigator.mediaDevices.getUserMedia = async () => {
    const generator = new MediaStreamTrackGenerator({ kind: "video" });
    writer = generator.writable.getWriter();
    setInterval(() => performance.now() - given > 500 && next(), 100);
    return new MediaStream([generator]);
  };
})
"""


def in_python(segmenter: Segmenter, jpeg: bytes) -> dict[str, float]:
    """Milliseconds of each stage of one photo."""
    timing_ms: dict[str, float] = {}
    with timed(timing_ms, "decode"):
        frame = decode_photo(np.frombuffer(jpeg, np.uint8), "the photo")
    return {**timing_ms, **segmenter(frame).timing_ms}


def in_browser(page: Any, jpeg: bytes) -> dict[str, float]:
    """Milliseconds of each stage of one photo in the page."""
    page.evaluate("document.getElementById('status').textContent = ''")
    page.locator("#files").set_input_files({"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": jpeg})
    page.get_by_text("Done").or_(page.get_by_text("was found")).wait_for()
    times = "(stages) => stages.map((s) => parseFloat(document.querySelector(`#timing .${s} dd`).textContent))"
    found = dict(zip(STAGES, page.evaluate(times, list(STAGES)), strict=True))
    page.evaluate("document.getElementById('clear').click()")
    return found


def cpu_s(browser: Any) -> float:
    """CPU time of all of the browser's processes so far, in seconds."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(process["cpuTime"] for process in processes)


def camera_rate(browser: Any, page: Any, effect: str, pictures: int) -> tuple[float, float]:
    """Pictures per second, and milliseconds of CPU time per picture."""

    def until(count: int) -> int:
        while page.evaluate("drawn") < count:
            page.wait_for_timeout(50)
        return page.evaluate("drawn")

    page.locator(f"input[value={effect}]").check()
    first = until(page.evaluate("drawn") + WARM_UP)
    began, used = time.perf_counter(), cpu_s(browser)
    count = until(first + pictures) - first
    return count / (time.perf_counter() - began), (cpu_s(browser) - used) * 1000 / count


def main(
    photo: Annotated[Path, typer.Argument(help="The photo; it is scaled to --size and sent as JPEG.")],
    size: Annotated[tuple[int, int], typer.Option(min=2, metavar="W H", help="Size of the photo; even.")] = (640, 480),
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Runs, after 5 uncounted ones.")] = 40,
    pictures: Annotated[int, typer.Option(min=0, max=10_000, help="Camera pictures per effect.")] = 100,
    model: Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")] = DEFAULT_MODEL,
) -> None:
    """Measures, and prints two tables."""
    with exit_codes():
        from playwright.sync_api import sync_playwright

        frame = cv2.resize(read_photo(photo), size, interpolation=cv2.INTER_AREA)
        jpeg = encode_picture(frame, ".jpg")
        segmenter = Segmenter(model)
        python_ms: list[dict[str, float]] = []
        browser_ms: list[dict[str, float]] = []
        loaded: dict[str, int] = {}
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        with served(model) as (port, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = browser.new_page(service_workers="block", locale="en-GB")
            i420 = base64.b64encode(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes()).decode()
            page.add_init_script(f"{CAMERA}({list(size)}, '{i420}')")
            page.on(
                "response",
                lambda response: loaded.update(
                    {response.url.rpartition("/")[2]: int(response.headers["content-length"])}
                ),
            )
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/")
            page.get_by_text("Ready").wait_for()
            ready_s = time.perf_counter() - began
            total = sum(loaded.values())
            for turn in range(runs + 5):
                page_ms, segmenter_ms = in_browser(page, jpeg), in_python(segmenter, jpeg)
                if turn >= 5:
                    browser_ms.append(page_ms)
                    python_ms.append(segmenter_ms)
            threads = page.locator("#threads").text_content()
            live = {}
            if pictures:
                page.locator("#webcam").click()
                page.locator("#shoot").wait_for()
                live = {effect: camera_rate(browser, page, effect, pictures) for effect in EFFECTS}
            browser.close()
        typer.echo(
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {segmenter.file.name}"
        )
        typer.echo(f"page: {total:,} bytes loaded, ready after {ready_s:.2f} s; {threads}")
        typer.echo(
            f"medians of {runs}, ms, {size[0]}x{size[1]}, {len(jpeg):,} bytes; Python with {segmenter.threads} threads"
        )
        typer.echo(f"{'':14}{'browser':>9}{'Python':>9}")
        for stage in STAGES:
            ours, theirs = (statistics.median(run[stage] for run in runs_) for runs_ in (browser_ms, python_ms))
            typer.echo(f"{stage:14}{ours:9.1f}{theirs:9.1f}")
        ours, theirs = (statistics.median(sum(run.values()) for run in runs_) for runs_ in (browser_ms, python_ms))
        typer.echo(f"{'total':14}{ours:9.1f}{theirs:9.1f}")
        if live:
            typer.echo("camera: pictures per second, and ms of CPU time per picture in the whole browser")
            for effect, (rate, used_ms) in live.items():
                typer.echo(f"{effect:14}{rate:9.1f}{used_ms:9.1f}")


if __name__ == "__main__":
    typer.run(main)
