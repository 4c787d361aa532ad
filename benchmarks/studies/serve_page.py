"""Is the page as fast as Python? `python benchmarks/studies/serve_page.py PHOTO`.

Opens the page in the system's Chromium, segments one photo again and again there and by a `Segmenter` here, in turns,
and prints the median milliseconds of each stage, what the page loads in bytes, and how long that takes. Needs the page
(`make web`), Chromium and Playwright.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import time
from pathlib import Path
from typing import Annotated

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

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
STAGES = {"Decode": "decode", "Resize": "preprocess", "Model": "inference", "Label map": "postprocess"}


def in_python(segmenter: Segmenter, jpeg: bytes) -> dict[str, float]:
    """Milliseconds of each stage of one photo."""
    timing_ms: dict[str, float] = {}
    with timed(timing_ms, "decode"):
        frame = decode_photo(np.frombuffer(jpeg, np.uint8), "the photo")
    return {**timing_ms, **segmenter(frame).timing_ms}


def main(
    photo: Annotated[Path, typer.Argument(help="The photo; it is scaled to --size and given as JPEG.")],
    size: Annotated[tuple[int, int], typer.Option(min=1, metavar="W H", help="Of the photo.")] = (640, 480),
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Counted runs, after 5 that aren't.")] = 40,
    model: Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")] = DEFAULT_MODEL,
) -> None:
    """Measures, and prints a table."""
    with exit_codes():
        from playwright.sync_api import sync_playwright

        frame = cv2.resize(read_photo(photo), size, interpolation=cv2.INTER_AREA)
        jpeg = encode_picture(frame, ".jpg")
        segmenter = Segmenter(model)
        python: list[dict[str, float]] = []
        browser_ms: list[dict[str, float]] = []
        loaded: dict[str, int] = {}
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        with served(model) as (port, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = browser.new_page(service_workers="block")
            page.on(
                "response", lambda got: loaded.update({got.url.rpartition("/")[2]: int(got.headers["content-length"])})
            )
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/")
            page.get_by_text("Ready").wait_for()
            ready_s = time.perf_counter() - began
            total = sum(loaded.values())
            page.locator("#file").set_input_files({"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": jpeg})
            segment = page.get_by_role("button", name="Segment", exact=True)
            for turn in range(runs + 5):
                page.get_by_text("press Segment" if not turn else "Done").wait_for()
                page.evaluate("document.getElementById('status').textContent = ''")
                segment.click()
                page.get_by_text("Done").wait_for()
                lines = page.locator("#timing div").all_inner_texts()
                stages = {name: float(text.split()[0]) for name, text in (line.split("\n") for line in lines)}
                measured = in_python(segmenter, jpeg)
                if turn >= 5:
                    browser_ms.append({STAGES[name]: value for name, value in stages.items() if name in STAGES})
                    python.append(measured)
            threads = page.locator("#threads").inner_text()
            browser.close()
        typer.echo(
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {segmenter.file.name}"
        )
        typer.echo(f"page: {total:,} bytes loaded, ready after {ready_s:.2f} s; {threads}")
        typer.echo(
            f"medians of {runs}, ms, {size[0]}x{size[1]}, {len(jpeg):,} bytes; Python with {segmenter.threads} threads"
        )
        typer.echo(f"{'':14}{'browser':>9}{'Python':>9}")
        for stage in STAGES.values():
            ours, theirs = (statistics.median(run[stage] for run in runs_) for runs_ in (browser_ms, python))
            typer.echo(f"{stage:14}{ours:9.1f}{theirs:9.1f}")
        ours, theirs = (statistics.median(sum(run.values()) for run in runs_) for runs_ in (browser_ms, python))
        typer.echo(f"{'total':14}{ours:9.1f}{theirs:9.1f}")


if __name__ == "__main__":
    typer.run(main)
