"""Options that several commands share, so that their names and help texts are the same."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seg_edge.errors import UsageError

if TYPE_CHECKING:
    from seg_edge.effects import EffectSettings


class Effect(StrEnum):
    """How a picture is drawn."""

    overlay = "overlay"
    mask = "mask"
    matte = "matte"
    cutout = "cutout"
    blur = "blur"
    replace_ = "replace"
    anonymize = "anonymize"


class Only(StrEnum):
    """Which regions are kept."""

    all = "all"
    largest = "largest"


# Headings that --help puts options under.
INPUT_PANEL, VIEW_PANEL, EFFECT_PANEL, OUTPUT_PANEL, MODEL_PANEL = "Input", "View", "Effect", "Output", "Model"
ADDRESS_PANEL, LIMITS_PANEL, MEASUREMENT_PANEL = "Address", "Limits", "Measurement"
ModelOption = Annotated[
    str, typer.Option(help="A bundled model's name or a .tflite file.", rich_help_panel=MODEL_PANEL)
]
MAX_THREADS = 64
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_THREADS, help="CPU threads; by default the cores, at most 4.", rich_help_panel=MODEL_PANEL
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for other programs.", rich_help_panel=OUTPUT_PANEL)
]

SmoothOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="How strongly masks are smoothed over time where the picture doesn't move; 0 turns it off.",
        rich_help_panel=MODEL_PANEL,
        show_default="0.5",
    ),
]
LookaheadOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=15,
        help="Also use this many following frames to steady masks; live output is delayed by as many frames.",
        rich_help_panel=MODEL_PANEL,
    ),
]


EffectOption = Annotated[
    Effect,
    typer.Option(
        help="overlay tints what was found; mask colours it on black; matte is white on black; cutout leaves the "
        "background transparent; blur and replace change it; anonymize hides people.",
        rich_help_panel=EFFECT_PANEL,
    ),
]
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        help="For the effect 'replace': a picture file; for video and camera also a video, which loops; "
        "or white, black, green, #rrggbb or transparent.",
        metavar="FILE|COLOUR",
        rich_help_panel=EFFECT_PANEL,
    ),
]
BlurStrengthOption = Annotated[
    float,
    typer.Option(min=0.1, max=5, help="How strong 'blur' is; 1 is the standard.", rich_help_panel=EFFECT_PANEL),
]
OnlyOption = Annotated[Only, typer.Option(help="Keep all regions or the largest.", rich_help_panel=EFFECT_PANEL)]
MinAreaOption = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Drop regions under this share of the picture, such as 0.01.", rich_help_panel=EFFECT_PANEL
    ),
]
FillHolesOption = Annotated[
    bool,
    typer.Option("--fill-holes", help="Fill background that a region encloses.", rich_help_panel=EFFECT_PANEL),
]


def parse_size(option: str, text: str) -> tuple[int, int]:
    """Width and height in pixels, written as `640x480`.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", text)
    if not match:
        raise UsageError(f"{option} {text} is not a size; write it as 640x480.")
    return int(match[1]), int(match[2])


def effect_settings(
    effect: str,
    background: str | None,
    blur_strength: float,
    only: str,
    min_area: float,
    fill_holes: bool,
    backdrop: Path | None = None,
) -> EffectSettings:
    """The settings for these options; reads the background picture, or the first picture of the video `backdrop`.

    Raises:
        UsageError: They don't fit together.
        PhotoError: The background can't be read.
        SourceError: The backdrop can't be read.
    """
    from seg_edge.effects import Background, EffectSettings, check_background, parse_background
    from seg_edge.photo.read import read_photo

    check_background(effect, background)
    if blur_strength != 1 and effect != "blur":
        raise UsageError("--blur-strength is for --effect blur.")
    parsed = parse_background(background) if background is not None else None
    if backdrop:
        from seg_edge.apps.backdrop import first_picture

        picture: Background = first_picture(backdrop)
    else:
        if isinstance(parsed, Path) and not parsed.suffix and not parsed.exists():
            raise UsageError(
                f"--background {background} is not a file or one of white, black, green, transparent, #rrggbb."
            )
        picture = read_photo(parsed) if isinstance(parsed, Path) else parsed
    return EffectSettings(effect, picture, blur_strength, only, min_area, fill_holes)


def moving_background(background: str | None) -> Path | None:
    """The video given as `--background`; None for a photo, a colour or nothing."""
    from seg_edge.effects import parse_background
    from seg_edge.photo.find import PHOTO_SUFFIXES

    parsed = parse_background(background) if background is not None else None
    return parsed if isinstance(parsed, Path) and parsed.suffix.lower() not in PHOTO_SUFFIXES else None
