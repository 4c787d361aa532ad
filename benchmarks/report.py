"""The report: `python benchmarks/report.py [--results DIR] [--history DIR]`.

Reads every `*.json` of the results and every `*.jsonl` of the history, and writes beside the results `README.md` with
the tables, `report.html` with everything that anyone may see, and, where there are photos that not everyone may,
`report-with-photos.html` with those too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from benchmarks import history
from benchmarks.reporting import markdown, page
from benchmarks.reporting.parts import Block, Code, Inline, Paragraph, Photos, Section
from benchmarks.reporting.results import Result, read_results, read_runs
from benchmarks.reporting.sections import sections
from seg_edge.commands.console import exit_codes
from seg_edge.errors import DataError
from seg_edge.system.files import write_file

HERE = Path(__file__).parent
RESULTS = HERE / "results"
GUIDE = HERE.parent / "docs" / "benchmarks.md"
ON_A_PI = "#on-a-raspberry-pi"
TITLE = "seg-edge: how small, how fast, how accurate"
OPEN = ("drawn",)  # suites whose pictures anyone may see: the program draws them
WIDEST, QUALITY = 900, 72  # of photos in the page, in pixels and of JPEG's 100


def write_report(results: Path, records: Path) -> list[Path]:
    """Makes the report from all results.

    Args:
        results: Folder of results, where the report goes too; photos are in `photos/<stem of the result's file>/`.
        records: Folder of the history.

    Returns:
        The files it wrote.

    Raises:
        DataError: A file there is something else; nothing is written.
        OutputError: The report can't be written.
    """
    found, runs = read_results(results), read_runs(records)
    photos = read_photos(results, found)
    guide = Path(os.path.relpath(GUIDE, results)).as_posix()
    parts = sections(found, runs, photos, guide + ON_A_PI)
    lead: list[Inline] = [
        "Segmentation models on the devices they are for, beside the large one they come from and beside others'. "
    ]
    shown: list[Inline] = [
        *lead,
        "With plots: ",
        Code("report.html"),
        " here, to be downloaded and opened in a browser.",
    ]
    written = {
        "README.md": markdown.page(TITLE, shown, parts),
        "report.html": page.page(TITLE, lead, without_private(parts)),
    }
    private = results / "report-with-photos.html"
    if any(photo.private for photo in photos):
        written[private.name] = page.page(TITLE, lead, parts)
    elif private.is_file():
        private.unlink()  # it would show figures of before
    for name, text in written.items():
        write_file(results / name, text.encode())
    return [results / name for name in written]


def read_photos(folder: Path, results: Sequence[Result]) -> list[Photos]:
    """The worst photos of each suite, from the first result that has some.

    Raises:
        DataError: A file is no picture.
    """
    found: dict[str, Photos] = {}
    for result in results:
        for path in sorted((folder / "photos" / result.path.stem).glob("*.jpg")):
            if path.stem not in found:
                caption = f"{path.stem}: {result.head}. Of each photo: the photo, the truth, then the models' answers."
                alt = f"The photos of {path.stem} that the smallest model did worst on."
                found[path.stem] = Photos(_shrunk(path), alt, caption, path.stem not in OPEN)
    return list(found.values())


def without_private(parts: Sequence[Section]) -> list[Section]:
    """The same for everyone to see, with a sentence where something was left out."""
    kept = []
    for section in parts:
        blocks: list[Block] = [b for b in section.blocks if not (isinstance(b, Photos) and b.private)]
        if len(blocks) < len(section.blocks):
            text = "Photos of people aren't in this page. Where they were measured, they are in "
            blocks.append(Paragraph([text, Code("report-with-photos.html"), ", which ", Code("make bench"), " makes."]))
        kept.append(Section(section.title, blocks))
    return kept


def _shrunk(path: Path) -> bytes:
    """The picture anew, no wider than a page needs."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if picture is None:
        raise DataError(f"{path}: no picture; remove it, or measure again.")
    height, width = picture.shape[:2]
    if width > WIDEST:
        picture = cv2.resize(picture, (WIDEST, round(height * WIDEST / width)), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def main(
    results: Annotated[Path, typer.Option(help="Folder of results, where the report goes too.")] = RESULTS,
    records: Annotated[Path, typer.Option("--history", help="Folder of a line a run.")] = history.FOLDER,
) -> None:
    """Makes the report from what was measured before."""
    with exit_codes():
        written = write_report(results, records)
    typer.echo(f"Written: {', '.join(str(path) for path in written)}")


if __name__ == "__main__":
    typer.run(main)
