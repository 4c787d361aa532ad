"""`seg-edge bench`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from seg_edge.commands.console import StatusLine, echo_json, fail
from seg_edge.commands.options import INPUT_PANEL, MAX_THREADS, MEASUREMENT_PANEL, MODEL_PANEL, JsonOption
from seg_edge.errors import UsageError
from seg_edge.models import DEFAULT_MODEL

WIDE = 160  # characters of a line outside a terminal


def bench(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A bundled model's name or a .tflite file; several are compared.",
            rich_help_panel=MODEL_PANEL,
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            help="Thread counts to measure, such as 1,2,4.",
            rich_help_panel=MODEL_PANEL,
            show_default="1 to the cores, at most 4",
        ),
    ] = None,
    photo: Annotated[
        Path | None,
        typer.Option(help="The picture to segment.", rich_help_panel=INPUT_PANEL, show_default="a synthetic one"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Also measure accuracy on this folder of images/ and masks/.", rich_help_panel=INPUT_PANEL),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="split.json of the training run: only its test photos are scored.", rich_help_panel=INPUT_PANEL
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            help="Class names if that folder has no labels.txt, such as cat,dog.", rich_help_panel=INPUT_PANEL
        ),
    ] = "",
    rounds: Annotated[
        int, typer.Option(min=1, help="Processes for each thread count.", rich_help_panel=MEASUREMENT_PANEL)
    ] = 7,
    runs: Annotated[
        int, typer.Option(min=1, help="Inferences in each process.", rich_help_panel=MEASUREMENT_PANEL)
    ] = 60,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast models are on this device, and with --data how accurate. Takes about a minute."""
    from rich.console import Console

    from seg_edge.apps.bench.candidates import candidate
    from seg_edge.apps.bench.run import BenchSettings, run_bench
    from seg_edge.apps.bench.text import headline, tables
    from seg_edge.photo.read import read_photo

    settings = BenchSettings(
        candidates=tuple(candidate(name) for name in model or [DEFAULT_MODEL]),
        threads=thread_counts(threads) if threads else (),
        frame=read_photo(photo) if photo else None,
        rounds=rounds,
        runs=runs,
        data=data,
        split=split,
        classes=tuple(word.strip() for word in classes.split(",") if word.strip()),
    )
    line = StatusLine()
    document = run_bench(settings, line.show)
    line.show("")
    if as_json:
        echo_json(document)
    else:
        typer.echo(headline(document))
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
        for table in tables(document):
            console.print()
            console.print(table)
    for scored in document["accuracy"]:
        if scored["part"] == "all":
            line.log(
                f"note: all photos of {scored['data']} were scored; photos that a model was trained on score too well"
            )
    watch = document["watch"]
    for note in watch["notes"]:
        line.log(f"note: {note}")
    if not watch["valid"]:
        fail(
            f"these figures are not reliable: {'; '.join(watch['reasons'])}. "
            "Cool the board, or use a stronger power supply.",
            1,
        )


def thread_counts(text: str) -> tuple[int, ...]:
    """`1,2,4` as distinct numbers, ascending.

    Raises:
        UsageError: It isn't a list of numbers of threads.
    """
    if not re.fullmatch(r"[1-9]\d?(,[1-9]\d?)*", text) or max(int(count) for count in text.split(",")) > MAX_THREADS:
        raise UsageError(f"--threads {text} is not a list of numbers up to {MAX_THREADS}; write it as 1,2,4.")
    return tuple(sorted({int(count) for count in text.split(",")}))
