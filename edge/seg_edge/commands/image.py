"""`seg-edge image`."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from seg_edge.commands.console import ERASE_LINE, note, printable
from seg_edge.commands.options import (
    MODEL_PANEL,
    OUTPUT_PANEL,
    BackgroundOption,
    BlurStrengthOption,
    Effect,
    EffectOption,
    FillHolesOption,
    JsonOption,
    MinAreaOption,
    Only,
    OnlyOption,
    ThreadsOption,
    effect_settings,
)
from seg_edge.models import DEFAULT_MODEL, PHOTO_MODEL


class PolygonFormat(StrEnum):
    """How outlines are written."""

    via = "via"
    coco = "coco"


def image(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders or globs.", metavar="PHOTO...")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A bundled model's name or a .tflite file.",
            show_default=f"{PHOTO_MODEL} if it is bundled and takes under 0.2 s here, else {DEFAULT_MODEL}",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    effect: EffectOption = Effect.overlay,
    background: BackgroundOption = None,
    blur_strength: BlurStrengthOption = 1.0,
    only: OnlyOption = Only.all,
    min_area: MinAreaOption = 0.0,
    fill_holes: FillHolesOption = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results; by default the photo's folder.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Also write the label map, an 8-bit PNG.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    polygons: Annotated[
        PolygonFormat | None, typer.Option(help="Also write the outlines.", rich_help_panel=OUTPUT_PANEL)
    ] = None,
    tiles: Annotated[
        str,
        typer.Option(
            metavar="auto|off|N",
            help="Segment in overlapping tiles, N along the longer side; auto does so for long photos, and for large "
            "ones with little found in them, which then take 13 inferences instead of 1.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace results that are there.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
) -> None:
    """Segment photos: one picture each, with the foreground tinted, cut out, or the background changed."""
    from seg_edge.apps.image import ImageOptions, is_result, segment_photos
    from seg_edge.photo.find import find_photos
    from seg_edge.segmenter import Segmenter, default_photo_model

    options = ImageOptions(
        effect_settings(effect.value, background, blur_strength, only.value, min_area, fill_holes),
        int(tiles) if tiles.isascii() and tiles.isdigit() else tiles,
        out,
        labels,
        polygons.value if polygons else None,
        force,
    )
    segmenter = Segmenter(model or default_photo_model(threads, note), threads)
    paths, failures = find_photos(photos)
    named = {Path(photo) for photo in photos}
    earlier = [path for path in paths if is_result(path) and path not in named]
    paths = [path for path in paths if path not in earlier]
    if earlier:
        note(f"{len(earlier)} pictures that seg-edge made earlier are left out, first {earlier[0]}")
    for argument, failure in failures.items():
        _report(str(failure), as_json, {"photo": argument, "error": str(failure)})

    done, failed = 0, len(failures)
    shows_bar = len(paths) > 1 and sys.stderr.isatty()
    with typer.progressbar(
        segment_photos(paths, segmenter, options),
        length=len(paths),
        label=f"Segmenting {len(paths)} photos",
        file=sys.stderr,
        hidden=not shows_bar,
    ) as results:
        for result in results:
            if result.error:
                failed += 1
                _report(result.error, as_json, result.to_json(segmenter), over_bar=shows_bar)
                continue
            done += 1
            if as_json:
                typer.echo(json.dumps(result.to_json(segmenter), ensure_ascii=False))
            elif not (shows_bar and sys.stdout.isatty()):
                found = ", ".join(f"{name} {share:.1%}" for name, share in result.areas.items())
                files = ", ".join(str(path) for path in result.outputs.values())
                typer.echo(printable(f"{result.photo}: {found} -> {files}"))
    if shows_bar and sys.stdout.isatty():
        typer.echo(f"{done} photos segmented; the pictures are {f'in {out}' if out else 'beside them'}")
    if failed or not done:
        raise typer.Exit(1)


def _report(message: str, as_json: bool, document: dict[str, Any], over_bar: bool = False) -> None:
    """A photo's failure: a line on stderr, where the progress bar was, and with --json its object on stdout as well."""
    note(f"{ERASE_LINE if over_bar else ''}error: {printable(message)}")
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
