"""`seg-edge image`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seg_edge.commands.console import note
from seg_edge.commands.image_report import ImageReport
from seg_edge.commands.options import (
    INPUT_PANEL,
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
from seg_edge.errors import OutputError, UsageError
from seg_edge.models import DEFAULT_MODEL, PHOTO_MODEL

if TYPE_CHECKING:
    from seg_edge.apps.image_jobs import ImageOptions


class PolygonFormat(StrEnum):
    """How outlines are written."""

    via = "via"
    coco = "coco"


class PictureFormat(StrEnum):
    """How pictures are written."""

    jpeg = "jpeg"
    png = "png"
    webp = "webp"


def image(
    photos: Annotated[
        list[str], typer.Argument(help="Photos, folders or globs; '-' is standard input.", metavar="PHOTO...")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A bundled model's name or a .tflite file.",
            show_default=f"{PHOTO_MODEL} if it is bundled and takes under 0.2 s here, else {DEFAULT_MODEL}",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Include subfolders.", rich_help_panel=INPUT_PANEL)
    ] = False,
    effect: EffectOption = Effect.overlay,
    background: BackgroundOption = None,
    blur_strength: BlurStrengthOption = 1.0,
    only: OnlyOption = Only.all,
    min_area: MinAreaOption = 0.0,
    fill_holes: FillHolesOption = False,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for the results, or for a single photo the picture's file; '-' is standard output. By default "
            "the photo's folder.",
            metavar="FOLDER|FILE",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    picture_format: Annotated[
        PictureFormat | None,
        typer.Option(
            "--format",
            help="By default jpeg, or png if the result has transparency or sharp edges.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Also write the label map, an 8-bit PNG.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    polygons: Annotated[
        PolygonFormat | None,
        typer.Option(help="Also write the outlines, one file a photo.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option(help="Also write all outlines into one COCO document.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    keep_metadata: Annotated[
        bool,
        typer.Option(
            "--keep-metadata",
            help="Keep date, camera, exposure, description, author and copyright; never the location.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace existing results.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Skip photos that have results already.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    memory: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Memory for photos being processed, in megabytes; by default most of what is free.",
            metavar="MB",
            rich_help_panel=OUTPUT_PANEL,
        ),
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
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS",
            help="Distribute the photos over a Ray cluster, or with auto over this machine's cores; --threads then "
            "applies to each worker, --memory to each machine.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment photos: one picture each, with the foreground tinted, cut out, or the background changed."""
    from seg_edge.apps.image import segment_photos
    from seg_edge.apps.image_jobs import ImageOptions, PhotoJob, plan_jobs
    from seg_edge.apps.image_outputs import STREAM, choose_output
    from seg_edge.photo.find import FoundPhotos, find_photos
    from seg_edge.segmenter import Segmenter, default_photo_model

    piped = "-" in photos
    if ray:
        from seg_edge.apps.image_cluster import segment_photos_on_cluster
    if piped and ray:
        raise UsageError("'-' is one photo; --ray is for many files.")
    if piped and len(photos) > 1:
        raise UsageError("'-' is one photo from standard input; give it alone.")
    found = FoundPhotos([STREAM]) if piped else find_photos(photos, recursive)
    options = ImageOptions(
        effect_settings(effect.value, background, blur_strength, only.value, min_area, fill_holes),
        int(tiles) if tiles.isascii() and tiles.isdigit() else tiles,
        choose_output("-" if piped and out is None else out, several=len(found.paths) > 1),
        picture_format.value if picture_format else None,
        labels,
        polygons.value if polygons else None,
        force,
        skip_existing,
        keep_metadata,
        collect_coco=coco is not None,
        memory_bytes=memory * 1_000_000 if memory else None,
    )
    _check_streams(options, piped, as_json)
    if coco:
        _check_coco(coco, options)
    segmenter = Segmenter(model or default_photo_model(threads, note), threads)
    if effect is Effect.anonymize:
        note("anonymize hides what the model finds; what it misses stays visible, so check every picture")
    jobs = plan_jobs(found, options)
    if piped:
        jobs = [PhotoJob(STREAM, jobs[0].outputs, "stdin", sys.stdin.buffer.read())]

    report = ImageReport(segmenter, as_json, show_bar=len(jobs) > 1 and sys.stderr.isatty())
    for argument, failure in found.failures.items():
        report.failed(str(failure), {"photo": argument, "error": str(failure)})
    with typer.progressbar(
        segment_photos_on_cluster(jobs, segmenter, options, ray, threads or 1)
        if ray
        else segment_photos(jobs, segmenter, options),
        length=len(jobs),
        label=f"Segmenting {len(jobs)} photos",
        file=sys.stderr,
        hidden=not report.show_bar,
    ) as results:
        for result in results:
            report.add(result)
    if coco:
        _write_coco(coco, report.coco)
    report.finish(found.left_out, len(jobs) + len(found.failures))


def _check_streams(options: ImageOptions, piped: bool, as_json: bool) -> None:
    from seg_edge.apps.image_outputs import STREAM

    if piped and sys.stdin.isatty():
        raise UsageError("'-' reads a photo from standard input, which is the terminal; pipe one into it.")
    if options.out.file == STREAM:
        if as_json or options.labels or options.polygons:
            raise UsageError("standard output can hold only one picture; for more, name a file with --out.")
        if sys.stdout.isatty():
            raise UsageError("the picture would go to the terminal; redirect it with '> FILE', or name one with --out.")


def _check_coco(coco: Path, options: ImageOptions) -> None:
    from seg_edge.system.files import check_writable

    if options.skip_existing:
        raise UsageError("--coco would lack the photos that --skip-existing leaves out; give one of the two.")
    if coco.exists() and not options.force:
        raise OutputError(f"{coco} already exists; --force replaces it.")
    check_writable(coco)


def _write_coco(coco: Path, documents: list[dict[str, Any]]) -> None:
    from seg_edge.export import join_coco
    from seg_edge.json_text import json_text
    from seg_edge.system.files import write_file

    write_file(coco, json_text(join_coco(documents)).encode())
