"""Keeps single pictures on request: by a key in the window, or by a signal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from seg_edge.errors import OutputError
from seg_edge.sinks.background_writer import BackgroundWriter, fill_picture
from seg_edge.sinks.sink import Controls, OutputFrame


class Snapshots:
    """Writes the next picture as `seg-edge-YYYYmmdd-HHMMSS.jpg` whenever `controls.snapshot` is set, and clears it.

    The name contains the local time at which the picture was taken; `-2`, `-3`, ... is appended if it already exists.
    Encoding and writing happen on a thread, so that a slow card doesn't stop the camera. A snapshot requested meanwhile
    is taken next.

    Args:
        folder: Where to write; created with the first picture.
        controls: Its `snapshot` requests one.
        saved: Called with each file once it is written, on the writing thread.

    Attributes:
        name: `--snapshots FOLDER`.
    """

    def __init__(self, folder: Path, controls: Controls, saved: Callable[[Path], None]):
        self.name = f"--snapshots {folder}"
        self._folder, self._controls, self._saved = folder, controls, saved
        self._writer = BackgroundWriter("snapshots")

    def publish(self, item: OutputFrame) -> None:
        """Keeps this picture if one is requested.

        Raises:
            OutputError: The previous one could not be written.
        """
        if self._writer.is_busy:
            return
        self._writer.finish()
        if self._controls.snapshot.is_set():
            self._controls.snapshot.clear()
            self._writer.start(self._write, item.picture, item.wall_time)

    def idle(self, message: str) -> None:
        """Does nothing: the last picture was taken before the request."""

    def close(self) -> None:
        """Finishes the last picture. May be called twice.

        Raises:
            OutputError: It could not be written.
        """
        try:
            self._writer.finish()
        finally:
            self._writer.stop()

    def _write(self, picture: np.ndarray, wall_time: float) -> None:
        path = self._reserve(time.strftime("seg-edge-%Y%m%d-%H%M%S", time.localtime(wall_time)))
        fill_picture(path, picture)
        self._saved(path)

    def _reserve(self, stem: str) -> Path:
        """Creates an empty file under a free name, so that two programs in one folder don't choose the same."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in _names(stem):
                with suppress(FileExistsError):
                    path = self._folder / name
                    path.touch(exist_ok=False)
                    return path
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{self._folder}: can't be written ({reason}); choose another location.") from error
        raise AssertionError("names never end")


def _names(stem: str) -> Iterator[str]:
    yield f"{stem}.jpg"
    number = 1
    while True:
        number += 1
        yield f"{stem}-{number}.jpg"
