"""The command `seg-edge`. The only place that prints and exits.

What needs NumPy, OpenCV or LiteRT is imported inside the commands: where one of them doesn't load, `doctor` still runs.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from seg_edge import __version__
from seg_edge.errors import SegEdgeError, UsageError
from seg_edge.models import DEFAULT_MODEL, bundled_models, open_model

if TYPE_CHECKING:
    from seg_edge.card import ModelCard
    from seg_edge.models import ModelFile

app = typer.Typer(
    help="Segment people, or your own classes, on this machine. Nothing leaves it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


ERASE_LINE = "\r\x1b[K"  # ECMA-48: back to the first column, erase to the end of the line


class Effect(StrEnum):
    """What is made of a picture."""

    overlay = "overlay"
    mask = "mask"
    cutout = "cutout"
    blur = "blur"
    replace_ = "replace"


class PolygonFormat(StrEnum):
    """How outlines are written."""

    via = "via"
    coco = "coco"


ModelOption = Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, max=64, help="CPU threads; by default the cores, at most 4.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seg-edge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Segment people, or your own classes, on this machine. Nothing leaves it."""


@app.command()
def image(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders or globs.", metavar="PHOTO...")],
    model: ModelOption = DEFAULT_MODEL,
    effect: Annotated[Effect, typer.Option(help="What to make of each photo.")] = Effect.overlay,
    background: Annotated[Path | None, typer.Option(help="Picture for the effect 'replace'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; by default beside the photo.")] = None,
    labels: Annotated[bool, typer.Option("--labels", help="Also write the label map, an 8-bit PNG.")] = False,
    polygons: Annotated[PolygonFormat | None, typer.Option(help="Also write the outlines.")] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace results that are there.")] = False,
) -> None:
    """Segment photos: one picture each, with the foreground tinted, cut out, or the background changed."""
    from seg_edge.photos import Wanted, is_result, segment_photos
    from seg_edge.segmenter import Segmenter
    from seg_edge.sources.photo import find_photos, read_photo

    if (effect is Effect.replace_) != (background is not None):
        raise UsageError("--effect replace and --background FILE go together; give both or neither.")
    wanted = Wanted(
        effect.value,
        read_photo(background) if background else None,
        out,
        labels,
        polygons.value if polygons else None,
        force,
    )
    segmenter = Segmenter(model, threads)
    paths, failures = find_photos(photos)
    named = {Path(photo) for photo in photos}
    earlier = [path for path in paths if is_result(path) and path not in named]
    paths = [path for path in paths if path not in earlier]
    if earlier:
        _note(f"{len(earlier)} pictures that seg-edge made earlier are left out, first {earlier[0]}")
    for argument, failure in failures.items():
        _report(str(failure), as_json, {"photo": argument, "error": str(failure)})

    done, failed = 0, len(failures)
    shows_bar = len(paths) > 1 and sys.stderr.isatty()
    with typer.progressbar(
        segment_photos(paths, segmenter, wanted),
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
                typer.echo(_printable(f"{result.photo}: {found} -> {files}"))
    if shows_bar and sys.stdout.isatty():
        typer.echo(f"{done} photos segmented; the pictures are {f'in {out}' if out else 'beside them'}")
    if failed or not done:
        raise typer.Exit(1)


@app.command()
def models(
    model: Annotated[
        str | None,
        typer.Argument(help="A bundled model's name or a .tflite file.", metavar="[NAME|FILE]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the bundled models, or show one model's card."""
    if model is None:
        files = [open_model(name) for name in bundled_models()]
        if as_json:
            typer.echo(json.dumps([_describe(file) for file in files], indent=2, ensure_ascii=False))
        for file in [] if as_json else files:
            card = file.card
            classes = ", ".join(card.class_names[1:]) if card else "no card"
            typer.echo(f"{file.name:<12} {len(file.content) / 1000:6.0f} kB  {classes}")
        return
    file = open_model(model)
    if as_json:
        typer.echo(json.dumps(_describe(file), indent=2, ensure_ascii=False))
    elif file.card is None:
        typer.echo(f"{file.path}: {len(file.content):,} bytes, sha256 {file.sha256}\nIt carries no card.")
    else:
        typer.echo(_card_text(file, file.card))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check whether this machine can segment, and say what to do if it can't."""
    try:
        from seg_edge.doctor import examine
    except ImportError as error:  # NumPy itself: without it nothing else can be looked at
        _fail(
            f"NumPy does not load ({error}); run 'pip install --force-reinstall numpy', "
            "on a Raspberry Pi 'sudo apt install libopenblas0'.",
            1,
        )
    findings = examine()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.status]
            typer.echo(f"{typer.style(f'{finding.status:<8}', fg=colour)}{finding.check:<12} {finding.found}")
            if finding.advice:
                typer.echo(f"{'':20} {finding.advice}")
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)


def _describe(file: ModelFile) -> dict[str, Any]:
    card = json.loads(file.card.to_json()) if file.card else None
    return {
        "name": file.name,
        "file": str(file.path),
        "bytes": len(file.content),
        "sha256": file.sha256,
        "card": card,
    }


def _card_text(file: ModelFile, card: ModelCard) -> str:
    lines = [
        f"{card.name} {card.version}",
        f"  classes   {', '.join(card.class_names)}",
        f"  input     {card.input_size_wh[0]}x{card.input_size_wh[1]}, pixel * {card.scale:.6g} + {card.offset:g}",
        f"  output    {card.output}",
        f"  file      {file.path}, {len(file.content):,} bytes, sha256 {file.sha256}",
        f"  parent    sha256 {card.parent_sha256}",
        f"  made      {card.created} with {', '.join(f'{name} {number}' for name, number in card.versions.items())}",
        f"  data      {json.dumps(card.data)}",
        f"  licence   {card.licence or 'not stated'}",
    ]
    for part, variants in card.scores.items():
        for variant, scores in variants.items() if isinstance(variants, dict) else ():
            if isinstance(scores, dict) and "mean_dice" in scores and variant != "drop":
                lines.append(
                    f"  {part:<5}{variant:<6} Dice {scores['mean_dice']}, "
                    f"mean over photos {scores.get('mean_photo_dice')}, "
                    f"boundary F {scores.get('boundary_f')} ({scores.get('photos')} photos)"
                )
    lines += [f"  {line}" for line in card.notes.splitlines()]
    return "\n".join(_printable(line) for line in lines)


def _printable(text: str) -> str:
    """Without what a terminal would obey: a stranger's card or file name may hold anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _report(message: str, as_json: bool, document: dict[str, Any], over_bar: bool = False) -> None:
    """A photo's failure: a line on stderr, where the progress bar was, and with --json its object on stdout as well."""
    _note(f"{ERASE_LINE if over_bar else ''}error: {_printable(message)}")
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))


def _note(message: str) -> None:
    typer.echo(message, err=True)


def _fail(message: str, code: int) -> NoReturn:
    _note(f"error: {message}")
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and turns errors into one line and an exit code (1 failed, 2 wrong usage)."""
    try:
        app(args=arguments, prog_name="seg-edge")
    except UsageError as error:
        _fail(str(error), 2)
    except SegEdgeError as error:
        _fail(str(error), 1)
    except ImportError as error:
        _fail(f"a package that seg-edge needs does not load ({error}); 'seg-edge doctor' says what to do.", 1)


if __name__ == "__main__":
    main()
