"""A video as numbered pictures, `f%04d.png`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from seg_edge.errors import OutputError
from seg_edge.photo.write import write_picture
from seg_edge.sources.names import numbered
from seg_edge.system.files import check_writable


class NumberedPictures:
    """Writes each frame as a picture, numbered from 1. Missing folders are created.

    Args:
        pattern: Such as `f%04d.png`; `.jpg` can't hold transparency.
        force: Replace existing pictures.

    Raises:
        OutputError: The folder can't be written to, or the first picture already exists.

    Attributes:
        frames: Pictures written so far.
    """

    def __init__(self, pattern: Path, force: bool):
        self._pattern, self._force = pattern, force
        self.frames = 0
        check_writable(self.path_of(1))
        self._refuse(self.path_of(1))

    def path_of(self, number: int) -> Path:
        """The path of a picture."""
        return numbered(self._pattern, number)

    def write(self, frame: np.ndarray, at_s: float | None = None) -> None:
        """Writes one picture, BGR or BGRA uint8.

        Raises:
            OutputError: It can't be written; the previous ones are kept.
        """
        path = self.path_of(self.frames + 1)
        self._refuse(path)
        write_picture(path, frame)
        self.frames += 1

    def _refuse(self, path: Path) -> None:
        if path.exists() and not self._force:
            raise OutputError(f"{path} already exists; --force replaces it.")

    def close(self) -> None:
        """Does nothing: nothing is held back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
