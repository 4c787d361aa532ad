"""`seg-edge video`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from seg_edge.commands.console import fail, printable
from seg_edge.commands.options import OUTPUT_PANEL, Effect, ModelOption, SmoothOption, ThreadsOption
from seg_edge.errors import OutputError
from seg_edge.json_text import json_text
from seg_edge.models import DEFAULT_MODEL


def video(
    file: Annotated[Path, typer.Argument(help="A video file.", metavar="IN")],
    out: Annotated[
        Path,
        typer.Option(help="The file to write: .mp4, .mkv, .mov, .avi, .webm or .ts.", rich_help_panel=OUTPUT_PANEL),
    ],
    effect: Annotated[Effect, typer.Option(help="What to make of each frame.")] = Effect.overlay,
    background: Annotated[Path | None, typer.Option(help="Picture for the effect 'replace'.")] = None,
    smooth: SmoothOption = None,
    stats: Annotated[
        Path | None,
        typer.Option(help="Write frame counts and timings to this JSON file.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    threads: ThreadsOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
) -> None:
    """Segment every frame of a video file, with its sound if ffmpeg is installed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from seg_edge.apps.video import segment_video
    from seg_edge.photo.read import read_photo
    from seg_edge.segmenter import Segmenter
    from seg_edge.smooth import DEFAULT_SMOOTH
    from seg_edge.system.files import check_writable, write_file

    if stats:
        check_writable(stats)
    segmenter = Segmenter(model, threads, DEFAULT_SMOOTH if smooth is None else smooth)
    picture = read_photo(background) if background else None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("Segmenting", total=None)
            outcome = segment_video(
                file,
                out,
                segmenter,
                effect.value,
                picture,
                force,
                lambda done, total: bar.update(task, completed=done, total=total and max(done, total)),
            )
    except KeyboardInterrupt:
        raise OutputError(f"{out}: stopped before the end, so it was not written.") from None
    published, rate = outcome.stats["frames"]["published"], outcome.stats["fps"] or 0
    typer.echo(printable(f"{file}: {published} frames, {rate:.0f} a second -> {out}; {outcome.sound}"))
    if stats:
        write_file(stats, json_text(outcome.stats, indent=1).encode() + b"\n")
    if outcome.undecoded:
        fail(f"{file}: {outcome.undecoded} of its frames are damaged and could not be decoded; the rest was done.", 1)
