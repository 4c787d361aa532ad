"""What the commands say and how they end: lines on stderr, one that is written over, and the exit with a message."""

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
    """Without what a terminal would obey: a stranger's card or file name may hold anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class StatusLine:
    """News for the user on stderr; in a terminal with a last line that is written over about once a second."""

    def __init__(self) -> None:
        self.in_terminal = sys.stderr.isatty()

    # A terminal that was closed, or a log on a full disk, is no reason to stop filming.
    def show(self, text: str) -> None:
        """Writes the line anew; nothing where stderr is no terminal."""
        if self.in_terminal:
            with contextlib.suppress(OSError):
                typer.echo(f"{ERASE_LINE}{printable(text)}", err=True, nl=False)

    def log(self, text: str) -> None:
        """A line that stays."""
        with contextlib.suppress(OSError):
            note(text, over_line=self.in_terminal)


def note(message: str, over_line: bool = False) -> None:
    """A line on stderr, of letters that any terminal takes; on request over the one that is there."""
    typer.echo(f"{ERASE_LINE if over_line else ''}{printable(' '.join(message.splitlines()))}", err=True)


def echo_json(document: Any, indent: int | None = None) -> None:
    """A document on stdout, in UTF-8 whatever the terminal's letters are."""
    typer.echo(json_text(document, indent=indent).encode())


def fail(message: str, code: int) -> NoReturn:
    """Ends the program: one sentence on stderr, and the exit code."""
    note(f"error: {message}")
    sys.exit(code)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """For commands other than `seg-edge`: an error becomes a line on stderr and exit code 1, or 2 for wrong usage."""
    try:
        yield
    except UsageError as error:
        note(f"error: {error}")
        raise typer.Exit(2) from error
    except (SegEdgeError, OSError) as error:
        note(f"error: {error}")
        raise typer.Exit(1) from error
