"""The command `seg-edge`: its commands, each in `seg_edge.commands`, and what an error becomes.

With the commands the only place that prints and exits. What needs NumPy, OpenCV or LiteRT is imported inside them:
where one of these doesn't load, `doctor` still runs.
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
from seg_edge.commands.console import fail
from seg_edge.commands.doctor import doctor
from seg_edge.commands.image import image
from seg_edge.commands.models import models
from seg_edge.commands.serve import serve
from seg_edge.commands.video import video
from seg_edge.errors import SegEdgeError, UsageError
from seg_edge.system.native_log import keep_python_stderr

# What Typer's validation says, and what a person would.
_PLAIN_WORDS = (
    (r"^Value error, ", ""),
    (r"Input should be a valid integer.*", "a whole number was expected."),
    (r"Input should be a valid number.*", "a number was expected."),
    (r"Input should be greater than or equal to (\S+)", r"it must be \1 or more."),
    (r"Input should be less than or equal to (\S+)", r"it must be \1 or less."),
)


class _PlainGroup(typer.core.TyperGroup):
    """Says what is wrong with an option in plain words."""

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
    """Puts /dev/null where one of the three is closed, or the next file opened would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python has none where they were closed.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    keep_python_stderr()
    # A name that this terminal's letters can't spell is no reason to stop.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and turns errors into one line and an exit code (1 failed, 2 wrong usage)."""
    _open_standard_streams()
    try:
        command = typer.main.get_command(app)
        command.rich_markup_mode = None  # type: ignore[attr-defined]  # errors as one line, without a box around them
        command(args=arguments, prog_name="seg-edge")
    except UsageError as error:
        fail(str(error), 2)
    except SegEdgeError as error:
        fail(str(error), 1)
    except OSError as error:  # such as standard output on a full disk
        fail(f"{error.filename or 'output'}: {error.strerror or error}.", 1)
    except ImportError as error:
        fail(f"a package that seg-edge needs does not load ({error}); 'seg-edge doctor' says what to do.", 1)


if __name__ == "__main__":
    main()
