"""Turns the pictures of a camera that is mounted upside down or on its side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from seg_edge.sources.source import Source, SourceFrame

TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class TurnedSource:
    """Another source's frames, rotated and then flipped.

    Args:
        source: The other source, which is closed with this one.
        rotate: Clockwise, in degrees: 0, 90, 180 or 270.
        flip: Flip vertically, after rotating.

    Attributes:
        info: The other source's, with the size after rotation.
    """

    def __init__(self, source: Source, rotate: int, flip: bool):
        self._source, self._rotate, self._flip = source, rotate, flip
        width, height = source.info.size_wh
        self.info = replace(source.info, size_wh=(height, width) if rotate in (90, 270) else (width, height))

    @property
    def complaint(self) -> str:
        """Which part of a file could not be shown; empty if none."""
        return getattr(self._source, "complaint", "")

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames; errors as for the other source."""
        for source_frame in self._source:
            # The camera's own small picture is dropped: rotated, it may no longer have the model's shape.
            yield source_frame._replace(frame=self._turn(source_frame.frame), small=None)

    def _turn(self, frame: np.ndarray) -> np.ndarray:
        if self._rotate:
            frame = cv2.rotate(frame, TURNS[self._rotate])
        return cv2.flip(frame, 0) if self._flip else frame

    def close(self) -> None:
        """Closes the other source."""
        self._source.close()
