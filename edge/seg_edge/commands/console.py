"""The output of the commands: lines on stderr, a status line, JSON on stdout, and the exit with a message."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import typer

from seg_edge.errors import SegEdgeError, UsageError
from seg_edge.json_text import json_text

ERASE_LINE = "\r\x1b[K"  # ECMA-48: back to the first column, erase to the end of the line


def printable(text: str) -> str:
    """The text with unprintable characters replaced: cards and file names may contain control sequences."""
    return "".join(character if character.isprintable() else "?" for character in text)


class StatusLine:
    """Lines for the user on stderr; in a terminal with a last line that is replaced again and again."""

    def __init__(self) -> None:
        self.in_terminal = sys.stderr.isatty()

    # A closed terminal, or a log on a full disk, is no reason to stop the camera.
    def show(self, text: str) -> None:
        """Replaces the last line; does nothing if stderr is not a terminal."""
        if self.in_terminal:
            with contextlib.suppress(OSError):
                typer.echo(f"{ERASE_LINE}{printable(text)}", err=True, nl=False)

    def log(self, text: str) -> None:
        """Prints a line that stays."""
        with contextlib.suppress(OSError):
            note(text, over_line=self.in_terminal)


def note(message: str, over_line: bool = False) -> None:
    """Prints a line of printable characters on stderr, on request in place of the last one."""
    typer.echo(f"{ERASE_LINE if over_line else ''}{printable(' '.join(message.splitlines()))}", err=True)


def echo_json(document: Any, indent: int | None = None) -> None:
    """Prints a document on stdout, in UTF-8 whatever the terminal's encoding."""
    typer.echo(json_text(document, indent=indent).encode())


def fail(message: str, code: int) -> NoReturn:
    """Ends the program with a sentence on stderr and an exit code."""
    note(f"error: {message}")
    sys.exit(code)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Turns an error into a line on stderr and exit code 1, or 2 for wrong usage."""
    try:
        yield
    except UsageError as error:
        fail(str(error), 2)
    except SegEdgeError as error:
        fail(str(error), 1)
    except OSError as error:  # such as standard output on a full disk
        where = f"{error.filename}: " if error.filename else "output: " if error.errno else ""
        fail(f"{where}{error.strerror or error}.", 1)
