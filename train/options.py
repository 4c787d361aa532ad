"""Option parsing and exit codes of the commands. Imports nothing heavy: masks.py needs no TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from seg_edge.commands.console import exit_codes, note
from seg_edge.errors import UsageError

# The panels of `--help`, in all commands.
INPUT, BUDGET, PRUNING, TRAINING = "Input", "Budget", "Pruning", "Training"
DISTILLATION, QUANTISATION, OUTPUT = "Distillation", "Quantisation", "Output"

# Options of the commands that work on the train part of a one-class data folder.
DrawnSplit = Annotated[
    Path | None, typer.Option("--split", help="split.json; by default the split is drawn.", rich_help_panel=INPUT)
]
ClassName = Annotated[
    str, typer.Option("--classes", help="The class's name, if there is no labels.txt.", rich_help_panel=INPUT)
]
PhotoNames = Annotated[
    str,
    typer.Option("--names", help="Use only photos whose name matches this regular expression.", rich_help_panel=INPUT),
]
Holdout = Annotated[
    float, typer.Option("--holdout", help="Share of the photos in val, as for train/fit.py.", rich_help_panel=INPUT)
]


def comma_separated(text: str) -> tuple[str, ...]:
    """The items of a list as in `a,b`, stripped; empty ones are left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def use_threads(threads: int) -> None:
    """Limits TensorFlow to this many CPU threads; 0 for all cores. Call it before any computation."""
    if threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def size_wh(text: str) -> tuple[int, int]:
    """Width and height in pixels, as in `320x192`, or one number for both.

    Raises:
        UsageError: It is neither.
    """
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"a size must be WIDTHxHEIGHT or one number for both, got {text!r}.")
    return int(parts[0]), int(parts[-1])


def run_command(command: Callable[..., None]) -> None:
    """Runs a function with typer's options as the program's command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app()


@contextlib.contextmanager
def resumable(advice: str) -> Iterator[None]:
    """`exit_codes` for a command that can continue after Ctrl-C: prints how, and exits with 130."""
    with exit_codes():
        try:
            yield
        except KeyboardInterrupt:
            note(f"interrupted; {advice}")
            raise typer.Exit(130) from None


def check_resume_or_force(resume: bool, force: bool) -> None:
    """Refuses --resume together with --force.

    Raises:
        typer.BadParameter: Both were given.
    """
    if resume and force:
        raise typer.BadParameter("--resume continues a run and --force replaces it; give only one of them")
