"""The command `seg-edge`. The only place that prints and exits.

What needs NumPy, OpenCV or LiteRT is imported inside the commands: where one of them doesn't load, `doctor` still runs.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from seg_edge import __version__
from seg_edge.errors import OutputError, SegEdgeError, UsageError
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


class View(StrEnum):
    """Where the live picture is shown."""

    window = "window"
    http = "http"
    none = "none"


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
    from seg_edge.render import check_background
    from seg_edge.segmenter import Segmenter
    from seg_edge.sources.photo import find_photos, read_photo

    check_background(effect.value, background)
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


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", text)
    if not match:
        raise UsageError(f"--size {text} is no size; write it as 640x480.")
    return int(match[1]), int(match[2])


def _control(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        raise UsageError(f"--control {text} is not NAME=VALUE with a number, True, False or (a, b).") from None


SmoothOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="How steady masks are held where the picture stands still; 0 leaves them.",
        show_default="0.5",
    ),
]


@app.command()
def camera(
    source: Annotated[
        str, typer.Option(help="auto, picamera2, a number, /dev/videoN, a file, a folder, a URL, or synthetic.")
    ] = "auto",
    size: Annotated[str | None, typer.Option(metavar="WxH", help="The picture's size, such as 640x480.")] = None,
    fps: Annotated[float | None, typer.Option(min=0.1, max=240, help="Frames a second to ask of the camera.")] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A control of a Pi's camera module, such as ExposureTime=8000."),
    ] = None,
    effect: Annotated[Effect, typer.Option(help="What to make of the picture.")] = Effect.overlay,
    background: Annotated[Path | None, typer.Option(help="Picture for the effect 'replace'.")] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Mirror the picture, as people expect of themselves.")
    ] = False,
    view: Annotated[
        View | None, typer.Option(help="Where to show it.", show_default="a window where there can be one, else http")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address of the page; others than this machine's show it to everybody.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.")] = 8000,
    record: Annotated[
        Path | None, typer.Option(help="Also into this video file; %Y%m%d-%H%M%S in its name is the time.")
    ] = None,
    virtual_camera: Annotated[
        str | None, typer.Option(help="Also as a camera for other programs: a v4l2loopback device.", metavar="DEV")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print areas and outlines, one JSON object a frame.")] = False,
    snapshots: Annotated[
        Path, typer.Option(help="Folder for snapshots: key s in the window, or SIGUSR1.", show_default="here")
    ] = Path(),
    smooth: SmoothOption = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    stats: Annotated[Path | None, typer.Option(help="At the end, write what it took into this JSON file.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    threads: ThreadsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a recording that is there.")] = False,
) -> None:
    """Segment live, until you press q in the window or Ctrl-C."""
    from seg_edge.live import CameraSettings, run_camera
    from seg_edge.smooth import DEFAULT_SMOOTH
    from seg_edge.sources.photo import read_photo

    settings = CameraSettings(
        source=source,
        size_wh=_size(size) if size else None,
        fps=fps,
        controls=dict(_control(text) for text in control or ()),
        effect=effect.value,
        background=read_photo(background) if background else None,
        mirror=mirror,
        view=view.value if view else "",
        host=host,
        port=port,
        record=record,
        force=force,
        virtual_camera=virtual_camera,
        as_json=as_json,
        snapshots=snapshots,
        smooth=DEFAULT_SMOOTH if smooth is None else smooth,
        seconds=seconds,
        frames=frames,
        stats=stats,
        model=model,
        threads=threads,
    )
    line = _StatusLine()
    outcome = run_camera(settings, line.tell, line.show)
    counts = outcome.stats["frames"]
    line.tell(
        f"{outcome.reason or 'stopped'}: {counts['published']} frames in {outcome.stats['seconds']:.0f} s, "
        f"{outcome.stats['fps'] or 0:.1f} a second, {counts['dropped']} dropped"
    )
    if outcome.failures:
        raise typer.Exit(1)


@app.command()
def video(
    file: Annotated[Path, typer.Argument(help="A video file.", metavar="IN")],
    out: Annotated[Path, typer.Option(help="The file to write: .mp4, .mkv, .mov, .avi, .webm or .ts.")],
    effect: Annotated[Effect, typer.Option(help="What to make of each frame.")] = Effect.overlay,
    background: Annotated[Path | None, typer.Option(help="Picture for the effect 'replace'.")] = None,
    smooth: SmoothOption = None,
    stats: Annotated[Path | None, typer.Option(help="Write what it took into this JSON file.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    threads: ThreadsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Segment every frame of a video file, with its sound if ffmpeg is installed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from seg_edge.files import check_place, write_file
    from seg_edge.segmenter import Segmenter
    from seg_edge.smooth import DEFAULT_SMOOTH
    from seg_edge.sources.photo import read_photo
    from seg_edge.video import segment_video

    if stats:
        check_place(stats)
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
    typer.echo(_printable(f"{file}: {published} frames, {rate:.0f} a second -> {out}; {outcome.sound}"))
    if stats:
        write_file(stats, json.dumps(outcome.stats, indent=1).encode() + b"\n")
    if outcome.undecoded:
        _fail(f"{file}: {outcome.undecoded} of its frames are damaged and could not be decoded; the rest was done.", 1)


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


class _StatusLine:
    """News for the user on stderr; in a terminal with a last line that is written over about once a second."""

    def __init__(self) -> None:
        self._in_terminal = sys.stderr.isatty()

    # A terminal that was closed, or a log on a full disk, is no reason to stop filming.
    def show(self, text: str) -> None:
        if self._in_terminal:
            with contextlib.suppress(OSError):
                typer.echo(f"{ERASE_LINE}{_printable(text)}", err=True, nl=False)

    def tell(self, text: str) -> None:
        with contextlib.suppress(OSError):
            _note(f"{ERASE_LINE if self._in_terminal else ''}{_printable(text)}")


def _note(message: str) -> None:
    typer.echo(message, err=True)


def _fail(message: str, code: int) -> NoReturn:
    _note(f"error: {message}")
    sys.exit(code)


def _open_standard_streams() -> None:
    """Puts /dev/null where one of the three is closed, or the next file opened would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python has none where they were closed.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and turns errors into one line and an exit code (1 failed, 2 wrong usage)."""
    _open_standard_streams()
    try:
        app(args=arguments, prog_name="seg-edge")
    except UsageError as error:
        _fail(str(error), 2)
    except SegEdgeError as error:
        _fail(str(error), 1)
    except OSError as error:  # such as standard output on a full disk
        _fail(f"{error.filename or 'output'}: {error.strerror or error}.", 1)
    except ImportError as error:
        _fail(f"a package that seg-edge needs does not load ({error}); 'seg-edge doctor' says what to do.", 1)


if __name__ == "__main__":
    main()
