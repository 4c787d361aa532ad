"""`seg-edge video`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from seg_edge.callbacks import OnProgress
from seg_edge.commands.console import fail, printable
from seg_edge.commands.options import (
    INPUT_PANEL,
    OUTPUT_PANEL,
    BackgroundOption,
    BlurStrengthOption,
    Effect,
    EffectOption,
    FillHolesOption,
    LookaheadOption,
    MinAreaOption,
    ModelOption,
    Only,
    OnlyOption,
    SmoothOption,
    ThreadsOption,
    effect_settings,
    moving_background,
)
from seg_edge.errors import OutputError
from seg_edge.json_text import json_text
from seg_edge.models import DEFAULT_MODEL


def video(
    file: Annotated[Path, typer.Argument(help="A video file, or numbered pictures: f%04d.png.", metavar="IN")],
    out: Annotated[
        Path,
        typer.Option(
            help="The file to write: .mp4, .m4v, .mov, .mkv, .webm, .ts, .avi, .gif or f%04d.png.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    effect: EffectOption = Effect.overlay,
    background: BackgroundOption = None,
    blur_strength: BlurStrengthOption = 1.0,
    only: OnlyOption = Only.all,
    min_area: MinAreaOption = 0.0,
    fill_holes: FillHolesOption = False,
    crf: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=63,
            help="Quality, the lower the better.",
            rich_help_panel=OUTPUT_PANEL,
            show_default="a file about as large as the original",
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=240, help="Rate of numbered pictures.", rich_help_panel=INPUT_PANEL)
    ] = None,
    smooth: SmoothOption = None,
    lookahead: LookaheadOption = 0,
    stats: Annotated[
        Path | None,
        typer.Option(help="Write frame counts and timings to this JSON file.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    threads: ThreadsOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
) -> None:
    """Segment every frame of a video file; sound, subtitles, chapters and title are kept."""
    from seg_edge.apps.video import segment_video
    from seg_edge.lookahead import Lookahead
    from seg_edge.segmenter import Segmenter
    from seg_edge.smooth import DEFAULT_SMOOTH
    from seg_edge.system.files import check_writable, write_file

    if stats:
        check_writable(stats)
    backdrop = moving_background(background)
    settings = effect_settings(effect.value, background, blur_strength, only.value, min_area, fill_holes, backdrop)
    smooth = DEFAULT_SMOOTH if smooth is None else smooth
    segmenter = Segmenter(model, threads, 0.0 if lookahead else smooth)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        with _progress_bar() as progress:
            outcome = segment_video(
                file,
                out,
                segmenter,
                settings,
                force,
                progress,
                crf,
                fps,
                backdrop,
                Lookahead(lookahead, smooth) if lookahead else None,
                flicker=stats is not None,
            )
    except KeyboardInterrupt:
        raise OutputError(f"{out}: stopped before the end, so it was not written.") from None
    published, rate = outcome.stats["frames"]["published"], outcome.stats["fps"] or 0
    typer.echo(printable(f"{file}: {published} frames, {rate:.0f} a second -> {out}; {outcome.sound}"))
    if stats:
        write_file(stats, json_text(outcome.stats, indent=1).encode() + b"\n")
    if outcome.complaint:
        fail(f"{file}: {outcome.complaint}; the rest was done.", 1)


@contextmanager
def _progress_bar() -> Iterator[OnProgress]:
    """A bar in a terminal, moved by the callback; without a terminal the callback does nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Segmenting", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total and max(done, total))
