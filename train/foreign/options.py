"""Command-line options for a Keras model from elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from train.foreign.open import InputOptions
from train.options import size_wh

Scale = Annotated[
    float | None,
    typer.Option("--input-scale", help="For a model from elsewhere: it takes pixel * scale + offset, pixels 0..255."),
]
Offset = Annotated[float | None, typer.Option("--input-offset", help="See --input-scale.")]
Size = Annotated[
    str, typer.Option("--input-size", help="Its input size, if the file doesn't set one: 256, or 320x192.")
]


def input_options(scale: float | None, offset: float | None, size: str) -> InputOptions:
    """The options as one value."""
    return InputOptions(scale, offset, size_wh(size) if size else None)
