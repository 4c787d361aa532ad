"""Collects photos to annotate and train on, of a person or an object that moves in front of the camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import OutputError
from seg_edge.sinks.background_writer import BackgroundWriter, fill_picture
from seg_edge.sinks.sink import OutputFrame

EVERY_S = 0.5
CHANGED = 3.0  # mean difference of a small grey picture, of 255 levels: more than noise, less than a turned head
SMALL_WH = (32, 24)
FOLDER = Path("photos")


class Collect:
    """Writes the camera's picture every half second, if it differs from the last one written.

    The files are `<name>-<date>-<time>_001.jpg` and so on. Date and time are those of the first picture, so that
    training with `--group '(.+)_'` keeps the photos of one run together.

    Args:
        name: The class's name, optionally with a folder, as in `more/cat`; without one the photos go into `photos`.
        log: Receives a line at the end with the number of photos.

    Raises:
        OutputError: The folder can't be created.
    """

    def __init__(self, name: Path, log: Callable[[str], None]):
        self.name = f"--collect {name}"
        self.folder = name.parent if name.parent != Path() else FOLDER
        self._stem, self._log = name.name, log
        self._count, self._last_s = 0, -np.inf
        self._last: np.ndarray | None = None
        self._writer = BackgroundWriter("collect")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder}: can't be created ({error.strerror}); choose another location."
            ) from error

    def publish(self, item: OutputFrame) -> None:
        """Keeps the frame as the camera gave it, if it is due and shows something new.

        Raises:
            OutputError: The previous photo could not be written.
        """
        if item.captured - self._last_s < EVERY_S or self._writer.is_busy:
            return
        self._finish()
        small = cv2.cvtColor(cv2.resize(item.frame, SMALL_WH, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        if self._last is not None and cv2.absdiff(small, self._last).mean() < CHANGED:
            return
        if self._last is None:
            self._stem += time.strftime("-%Y%m%d-%H%M%S", time.localtime(item.wall_time))
        self._last_s, self._last = item.captured, small
        self._count += 1
        path = self.folder / f"{self._stem}_{self._count:03}.jpg"
        self._writer.start(_write, path, item.frame)

    def idle(self, message: str) -> None:
        """Waits for the next frame."""

    def close(self) -> None:
        """Finishes the last photo, and logs how many there are. May be called twice.

        Raises:
            OutputError: It could not be written.
        """
        try:
            self._finish()
        finally:
            self._writer.stop()
            if self._count:
                self._log(f"photos to annotate: {self._count} in {self.folder}, from {self._stem}_001.jpg on")
            self._count = 0

    def _finish(self) -> None:
        try:
            self._writer.finish()
        except OutputError:
            self._count -= 1
            raise


def _write(path: Path, frame: np.ndarray) -> None:
    try:
        path.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error}); choose another location.") from error
    fill_picture(path, frame)
