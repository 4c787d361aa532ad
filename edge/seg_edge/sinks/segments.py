"""A recording in segments: their names, and how many are kept."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

STAMP = "%Y%m%d-%H%M%S"


class RecordingSegments:
    """The segments of a recording, named by the time at which they begin.

    Args:
        pattern: A name with codes of `strftime`; without any, `-%Y%m%d-%H%M%S` is added before the suffix.
        keep_bytes: The oldest segments are deleted once all those of this name, including earlier runs', take up more
            bytes than this; None keeps them.
    """

    def __init__(self, pattern: Path, keep_bytes: int | None = None):
        stamped = "%" in pattern.name
        self._pattern = pattern if stamped else pattern.with_name(f"{pattern.stem}-{STAMP}{pattern.suffix}")
        self._keep_bytes = keep_bytes

    def next_path(self) -> Path:
        """A name for the current time; a number is appended if it is already taken."""
        path = Path(time.strftime(str(self._pattern)))
        number = 1
        while path.exists():
            number += 1
            path = path.with_name(f"{Path(time.strftime(self._pattern.name)).stem}-{number}{path.suffix}")
        return path

    def delete_oldest(self, newest: Path) -> None:
        """Makes room after `newest` was finished; `newest` itself is never deleted."""
        if self._keep_bytes is None:
            return
        any_time = re.sub(r"%[a-zA-Z]", r"\\w+", re.sub(r"[^\w%]", lambda odd: f"\\{odd[0]}", self._pattern.stem))
        form = re.compile(rf"{any_time}(-\d+)?{re.escape(self._pattern.suffix)}")
        folder = Path(time.strftime(str(self._pattern.parent)))
        segments = [path for path in folder.iterdir() if form.fullmatch(path.name)]
        by_age = sorted(segments, key=lambda path: path.stat().st_mtime, reverse=True)
        kept = 0
        for path in by_age:
            kept += path.stat().st_size
            if kept > self._keep_bytes and path != newest:
                with contextlib.suppress(OSError):
                    path.unlink()
