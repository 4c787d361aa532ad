"""`seg-edge camera`."""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seg_edge.commands.console import StatusLine
from seg_edge.commands.options import (
    INPUT_PANEL,
    OUTPUT_PANEL,
    VIEW_PANEL,
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
    parse_size,
)
from seg_edge.errors import UsageError
from seg_edge.models import DEFAULT_MODEL


class View(StrEnum):
    """Where the live picture is shown."""

    window = "window"
    http = "http"
    none = "none"


class Rotate(StrEnum):
    """By how many degrees the picture is turned."""

    none = "0"
    quarter = "90"
    half = "180"
    three_quarters = "270"


def camera(
    source: Annotated[
        str,
        typer.Option(
            help="auto, picamera2, a number, /dev/videoN, a file, a folder, a URL, or synthetic.",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = "auto",
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="The picture's size, such as 640x480.", rich_help_panel=INPUT_PANEL),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, max=240, help="Frame rate to ask the camera for.", rich_help_panel=INPUT_PANEL),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A control of a Pi's camera module, such as ExposureTime=8000.",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = None,
    rotate: Annotated[
        Rotate, typer.Option(help="Degrees to turn the picture clockwise.", rich_help_panel=INPUT_PANEL)
    ] = Rotate.none,
    flip: Annotated[
        bool, typer.Option("--flip", help="Flip the picture vertically.", rich_help_panel=INPUT_PANEL)
    ] = False,
    effect: EffectOption = Effect.overlay,
    background: BackgroundOption = None,
    blur_strength: BlurStrengthOption = 1.0,
    only: OnlyOption = Only.all,
    min_area: MinAreaOption = 0.0,
    fill_holes: FillHolesOption = False,
    mirror: Annotated[
        bool,
        typer.Option("--mirror", help="Flip left and right, as in a video call.", rich_help_panel=VIEW_PANEL),
    ] = False,
    view: Annotated[
        View | None,
        typer.Option(
            help="Where to show it.",
            rich_help_panel=VIEW_PANEL,
            show_default="a window if possible, else http",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address the page listens on; 0.0.0.0 lets everyone on the network see it.",
            rich_help_panel=VIEW_PANEL,
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.", rich_help_panel=VIEW_PANEL)] = 8000,
    allow_frame: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A web site that may show the page in a frame: http://hass.local:8123.",
            rich_help_panel=VIEW_PANEL,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Another host name that the page accepts.", rich_help_panel=VIEW_PANEL),
    ] = None,
    on_demand: Annotated[
        bool,
        typer.Option(
            "--on-demand", help="Open the camera only while someone views the page.", rich_help_panel=VIEW_PANEL
        ),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Also record to this video file; %Y%m%d-%H%M%S in the name becomes the time.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    segment: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Split the recording into files of this length: 30s, 10m, 1h.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Delete the oldest of these files when together they exceed this: 500MB, 20GB.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    virtual_camera: Annotated[
        str | None,
        typer.Option(
            help="Also feed this v4l2loopback device, a camera for other programs.",
            rich_help_panel=OUTPUT_PANEL,
            metavar="DEV",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print areas and outlines, one JSON object a frame.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    mqtt: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Also publish detections to an MQTT broker, such as Home Assistant's: mqtt://user:password@host.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    mqtt_name: Annotated[
        str, typer.Option(help="The camera's name there.", rich_help_panel=OUTPUT_PANEL, metavar="NAME")
    ] = "seg-edge",
    snapshots: Annotated[
        Path,
        typer.Option(
            help="Folder for snapshots: key s in the window, or SIGUSR1.",
            rich_help_panel=OUTPUT_PANEL,
            show_default="here",
        ),
    ] = Path(),
    collect: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME",
            help="Keep photos of a class to learn: every half second, if the picture changed, as photos/NAME-….jpg.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    smooth: SmoothOption = None,
    lookahead: LookaheadOption = 0,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many seconds.", rich_help_panel=INPUT_PANEL)
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many frames.", rich_help_panel=INPUT_PANEL)
    ] = None,
    stats: Annotated[
        Path | None,
        typer.Option(help="Write frame counts and timings to this JSON file at the end.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    threads: ThreadsOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing recording.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
) -> None:
    """Segment live, until you press q in the window or Ctrl-C."""
    from seg_edge.apps.camera import CameraSettings, run_camera
    from seg_edge.smooth import DEFAULT_SMOOTH

    if (segment and not record) or (keep and not segment):
        raise UsageError("--keep needs --segment, and --segment needs --record.")
    backdrop = moving_background(background)
    settings = CameraSettings(
        source=source,
        size_wh=parse_size("--size", size) if size else None,
        fps=fps,
        controls=dict(_control(text) for text in control or ()),
        effects=effect_settings(effect.value, background, blur_strength, only.value, min_area, fill_holes, backdrop),
        backdrop=backdrop,
        rotate=int(rotate.value),
        flip=flip,
        frame_origins=tuple(allow_frame or ()),
        names=tuple(name or ()),
        segment_s=_measure("--segment", segment, {"s": 1, "m": 60, "h": 3600}, "10m") if segment else None,
        keep_bytes=int(_measure("--keep", keep, {"MB": 10**6, "GB": 10**9}, "20GB")) if keep else None,
        mirror=mirror,
        view=view.value if view else "",
        host=host,
        port=port,
        record=record,
        force=force,
        virtual_camera=virtual_camera,
        as_json=as_json,
        on_demand=on_demand,
        mqtt=mqtt,
        mqtt_name=mqtt_name,
        snapshots=snapshots,
        collect=collect,
        smooth=DEFAULT_SMOOTH if smooth is None else smooth,
        lookahead=lookahead,
        seconds=seconds,
        frames=frames,
        stats=stats,
        model=model,
        threads=threads,
    )
    line = StatusLine()
    outcome = run_camera(settings, line.log, line.show)
    counts = outcome.stats["frames"]
    line.log(
        f"{outcome.reason or 'stopped'}: {counts['published']} frames in {outcome.stats['seconds']:.0f} s, "
        f"{outcome.stats['fps'] or 0:.1f} a second, {counts['dropped']} dropped"
    )
    if outcome.failures:
        raise typer.Exit(1)


def _measure(option: str, text: str, units: dict[str, int], example: str) -> float:
    match = re.fullmatch(rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(units)})", text)
    if not match or not float(match[1]):
        raise UsageError(f"{option} {text} is not an amount; write it as {example}, with one of {', '.join(units)}.")
    return float(match[1]) * units[match[2]]


def _control(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        raise UsageError(f"--control {text} is not NAME=VALUE with a number, True, False or (a, b).") from None
