"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Effect(StrEnum):
    """What is made of a picture."""

    overlay = "overlay"
    mask = "mask"
    cutout = "cutout"
    blur = "blur"
    replace_ = "replace"


# Headings that --help puts options under.
INPUT_PANEL, VIEW_PANEL, OUTPUT_PANEL, MODEL_PANEL = "Input", "View", "Output", "Model"
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
