"""What `seg-edge image` prints: a line for each photo, and a summary."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from seg_edge.commands.console import echo_json, note, printable

if TYPE_CHECKING:
    from seg_edge.apps.image_jobs import PhotoResult
    from seg_edge.segmenter import Segmenter


class ImageReport:
    """Prints a line for each photo as it is done, and a summary at the end.

    Args:
        segmenter: The one that segments, for `--json`.
        as_json: Print JSON objects instead of lines.
        show_bar: A progress bar is on the terminal's last line.

    Attributes:
        coco: The outlines so far, one document a photo.
    """

    def __init__(self, segmenter: Segmenter, as_json: bool, show_bar: bool) -> None:
        self.segmenter, self.as_json, self.show_bar = segmenter, as_json, show_bar
        self.coco: list[dict[str, Any]] = []
        self._done = self._failed = self._done_before = self._made_by_us = 0
        self._blocked: list[PhotoResult] = []

    def failed(self, message: str, document: dict[str, Any], show: bool = True) -> None:
        """Counts a photo that failed, and prints why unless `finish` will."""
        self._failed += 1
        if show:
            note(f"error: {message}", over_line=self.show_bar)
        if self.as_json:
            echo_json(document)

    def add(self, result: PhotoResult) -> None:
        """Prints the result of a photo; a picture for standard output is written there."""
        from seg_edge.apps.image_jobs import DONE_BEFORE

        document = result.to_json(self.segmenter)
        if result.error:
            self._blocked += [result] if result.blocked else []
            self.failed(result.error, document, show=not result.blocked)
            return
        if result.skipped:
            self._done_before += result.skipped == DONE_BEFORE
            self._made_by_us += result.skipped != DONE_BEFORE
            if self.as_json:
                echo_json(document)
            return
        self._done += 1
        self.coco += [result.coco] if result.coco else []
        if result.content:
            sys.stdout.buffer.write(result.content)
            sys.stdout.buffer.flush()
        elif self.as_json:
            echo_json(document)
        elif not (self.show_bar and sys.stdout.isatty()):
            found = ", ".join(f"{name} {share:.1%}" for name, share in result.areas.items())
            files = ", ".join(str(path) for path in result.outputs.values())
            typer.echo(printable(f"{result.photo}: {found} -> {files}"))

    def finish(self, left_out: Counter[str], count: int) -> None:
        """Prints what was left out and how many failed.

        Raises:
            typer.Exit: With 1 if something failed, or nothing was done.
        """
        if len(self._blocked) == 1:
            note(f"error: {self._blocked[0].error}")
        elif self._blocked:
            note(
                f"error: {len(self._blocked)} photos have results already, the first is {self._blocked[0].photo}; "
                "--skip-existing skips such photos, --force replaces the results."
            )
        if reasons := _left_out(left_out, self._made_by_us):
            note(f"left out: {reasons}")
        if count > 1:
            parts = {"done": self._done, "skipped (results exist)": self._done_before, "failed": self._failed}
            counts = ", ".join(f"{number} {what}" for what, number in parts.items() if number or what == "done")
            number = count - self._made_by_us
            note(f"{number} photo{'' if number == 1 else 's'}: {counts}")
        if self._failed or not (self._done or self._done_before):
            raise typer.Exit(1)


def _left_out(entries: Counter[str], results: int) -> str:
    """`5 pictures that seg-edge made, 2 folders (--recursive reads them), 3 .mov and 1 .txt (no photos)`."""
    from seg_edge.photo.find import NO_SUFFIX

    counts = dict(entries)
    parts = [f"{results} {'pictures' if results > 1 else 'picture'} that seg-edge made"] if results else []
    for what, why in (("folder", " (--recursive reads them)"), ("linked folder", ""), ("hidden file", "")):
        number = counts.pop(what, 0)
        parts += [f"{number} {what}{'s' if number > 1 else ''}{why}"] if number else []
    number = counts.pop(NO_SUFFIX, 0)
    counts[NO_SUFFIX.replace("file", "files") if number > 1 else NO_SUFFIX] = number
    others = [f"{number} {kind}" for kind, number in sorted(counts.items(), key=lambda pair: -pair[1]) if number]
    parts += [f"{', '.join(others)} (no photos)"] if others else []
    return ", ".join(parts)
