"""Command-line options for a Keras model from elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from train.foreign.open import InputOptions
from train.options import INPUT, size_wh

Scale = Annotated[
    float | None,
    typer.Option(
        "--input-scale",
        help="For a model from elsewhere that expects pixel * scale + offset, with pixels 0..255.",
        rich_help_panel=INPUT,
    ),
]
Offset = Annotated[float | None, typer.Option("--input-offset", help="See --input-scale.", rich_help_panel=INPUT)]
Size = Annotated[
    str,
    typer.Option(
        "--input-size",
        help="For a model from elsewhere whose file sets no input size: 256, or 320x192.",
        rich_help_panel=INPUT,
    ),
]


def input_options(scale: float | None, offset: float | None, size: str) -> InputOptions:
    """The options as one value."""
    return InputOptions(scale, offset, size_wh(size) if size else None)
