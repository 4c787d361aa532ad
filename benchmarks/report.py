"""The report: `python benchmarks/report.py [--results DIR] [--history DIR]`.

Reads every `*.json` of the results and every `*.csv` of the history. Writes `report.md` next to the results, and
from it `report.html` with embedded pictures. Both show the worst photos: don't publish photos of people.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import history
from benchmarks.reporting.document import read_results
from benchmarks.reporting.page import html_page
from benchmarks.reporting.text import TITLE, report
from seg_edge.commands.console import exit_codes
from seg_edge.system.files import write_file

HERE = Path(__file__).parent
RESULTS = HERE / "results"
GUIDE = HERE.parent / "docs" / "benchmarks.md"


def write_report(results: Path, records: Path) -> list[Path]:
    """Writes the report from all results.

    Args:
        results: Folder for results and report; pictures of photos are in its `photos/`.
        records: Folder of the history.

    Returns:
        The files it wrote.

    Raises:
        DataError: A file in it is invalid; nothing is written.
        OutputError: The report can't be written.
    """
    found = read_results(results)
    runs = {path.stem: history.read(path) for path in sorted(records.glob("*.csv"))}
    stems = {result.path.stem for result in found}
    pictures = [
        path.relative_to(results).as_posix()
        for path in sorted(results.glob("photos/*/*.jpg"))
        if path.parent.name in stems
    ]
    pi_link = f"{Path(os.path.relpath(GUIDE, results)).as_posix()}#on-a-raspberry-pi"
    text = report(found, runs, pictures, pi_link, results)
    written = {results / "report.md": text, results / "report.html": html_page(TITLE, text, results)}
    for path, content in written.items():
        write_file(path, content.encode())
    return list(written)


def main(
    results: Annotated[Path, typer.Option(help="Folder for results and report.")] = RESULTS,
    records: Annotated[Path, typer.Option("--history", help="Folder of the history.")] = history.FOLDER,
) -> None:
    """Writes the report from existing results."""
    with exit_codes():
        written = write_report(results, records)
    typer.echo(f"Written: {', '.join(str(path) for path in written)}")


if __name__ == "__main__":
    typer.run(main)
