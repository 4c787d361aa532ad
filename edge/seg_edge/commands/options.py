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


ModelOption = Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")]
MAX_THREADS = 64
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, max=MAX_THREADS, help="CPU threads; by default the cores, at most 4.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]

SmoothOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="How steady masks are held where the picture stands still; 0 leaves them.",
        show_default="0.5",
    ),
]
