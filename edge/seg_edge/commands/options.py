"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seg_edge.errors import UsageError

if TYPE_CHECKING:
    from seg_edge.effects import EffectSettings


class Effect(StrEnum):
    """What is made of a picture."""

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
ADDRESS_PANEL, LIMITS_PANEL = "Address", "Limits"
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
        help="Steady masks with so many following frames too, live at the price of showing each so much later.",
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
        help="For the effect 'replace': a picture's file, of a video or camera also a video's, which is repeated; "
        "white, black, green, #rrggbb or transparent.",
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


def effect_settings(
    effect: str,
    background: str | None,
    blur_strength: float,
    only: str,
    min_area: float,
    fill_holes: bool,
    backdrop: Path | None = None,
) -> EffectSettings:
    """The settings that these options ask for; reads the background's picture, the first one of the video `backdrop`.

    Raises:
        UsageError: They don't fit together.
        PhotoError: The background can't be read.
        SourceError: The backdrop can't be.
    """
    from seg_edge.effects import Background, EffectSettings, check_background, parse_background
    from seg_edge.photo.read import read_photo

    check_background(effect, background)
    if blur_strength != 1 and effect != "blur":
        raise UsageError("--blur-strength is for --effect blur.")
    behind = parse_background(background) if background is not None else None
    if backdrop:
        from seg_edge.apps.backdrop import first_picture

        picture: Background = first_picture(backdrop)
    else:
        if isinstance(behind, Path) and not behind.suffix and not behind.exists():
            raise UsageError(f"--background {background} is no file, nor white, black, green, transparent or #rrggbb.")
        picture = read_photo(behind) if isinstance(behind, Path) else behind
    return EffectSettings(effect, picture, blur_strength, only, min_area, fill_holes)


def moving_background(background: str | None) -> Path | None:
    """The video that is meant by `--background`; None where it is none, or a photo or a colour."""
    from seg_edge.effects import parse_background
    from seg_edge.photo.find import PHOTO_SUFFIXES

    behind = parse_background(background) if background is not None else None
    return behind if isinstance(behind, Path) and behind.suffix.lower() not in PHOTO_SUFFIXES else None
