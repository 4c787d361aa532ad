"""Writes pictures on a thread, one at a time, so that a slow card doesn't stop the camera."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.photo.write import write_picture


class BackgroundWriter:
    """Runs one write after another on a thread of its own.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str):
        self._thread = ThreadPoolExecutor(1, name)
        self._writing: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the last write is still running."""
        return self._writing is not None and not self._writing.done()

    def start(self, write: Callable[..., None], *arguments: Any) -> None:
        """Starts a write; call `finish` for the previous one first."""
        self._writing = self._thread.submit(write, *arguments)

    def finish(self) -> None:
        """Waits for the last write, and raises its error, once."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def stop(self) -> None:
        """Ends the thread. May be called twice."""
        self._thread.shutdown()


def fill_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture, BGR uint8 (height, width, 3), into its existing empty file, which is removed on an error.

    Raises:
        OutputError: It can't be written.
    """
    try:
        write_picture(path, picture)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
