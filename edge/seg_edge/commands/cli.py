"""The command `seg-edge`: its subcommands, each in a file of `seg_edge.commands`, and its entry point.

Only the files in this folder print and exit. NumPy, OpenCV and LiteRT are imported inside the subcommands, so that
`doctor` still runs if one of them doesn't load.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

from seg_edge import __version__
from seg_edge.commands.bench import bench
from seg_edge.commands.camera import camera
from seg_edge.commands.console import exit_codes, fail
from seg_edge.commands.doctor import doctor
from seg_edge.commands.image import image
from seg_edge.commands.models import models
from seg_edge.commands.serve import serve
from seg_edge.commands.video import video
from seg_edge.system.native_log import keep_python_stderr

# Typer's validation messages, and plain ones.
_PLAIN_WORDS = (
    (r"^Value error, ", ""),
    (r"Input should be a valid integer.*", "a whole number was expected."),
    (r"Input should be a valid number.*", "a number was expected."),
    (r"Input should be greater than or equal to (\S+)", r"it must be \1 or more."),
    (r"Input should be less than or equal to (\S+)", r"it must be \1 or less."),
)


class _PlainGroup(typer.core.TyperGroup):
    """Reports invalid options in plain words."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            for pattern, words in _PLAIN_WORDS:
                error.message = re.sub(pattern, words, error.message)
            raise


app = typer.Typer(
    cls=_PlainGroup,
    help="Segment people, or your own classes, on this machine. Nothing leaves it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for command in (image, camera, video, serve, models, bench, doctor):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seg-edge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Segment people, or your own classes, on this machine. Nothing leaves it."""


def _open_standard_streams() -> None:
    """Opens /dev/null for closed standard streams; otherwise the next file opened would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python sets them to None if they were closed.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    keep_python_stderr()
    # A name that the terminal's encoding can't represent is no reason to stop.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and turns errors into one line and an exit code (1 failed, 2 wrong usage)."""
    _open_standard_streams()
    command = typer.main.get_command(app)
    command.rich_markup_mode = None  # type: ignore[attr-defined]  # errors as one line, without a box around them
    try:
        with exit_codes():
            command(args=arguments, prog_name="seg-edge")
    except ImportError as error:
        fail(f"a package that seg-edge needs does not load ({error}); 'seg-edge doctor' says what to do.", 1)


if __name__ == "__main__":
    main()
