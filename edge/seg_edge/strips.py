"""Pictures drawn some rows at a time.

A strip stays in the processor's cache, and may overwrite the photo's own rows, so that a photo of 200 megapixels is in
memory only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from seg_edge.preprocess import resize_near

STRIP_PIXELS = 1 << 19

Rows = Callable[[slice], np.ndarray]  # draws a slice of rows, a new array: uint8 (n, width) or (n, width, channels)


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """The rows of a picture of (height, width, ...) from the top down."""
    height, width, *_ = shape
    rows = max(1, STRIP_PIXELS // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture before it is drawn.

    Attributes:
        shape: (height, width, channels): 3 are BGR, 4 BGRA.
        rows: Draws its rows; from the top down if it is drawn over the frame that it is made of.
    """

    shape: tuple[int, ...]
    rows: Rows

    def strips(self) -> Iterator[np.ndarray]:
        """The picture from the top down."""
        return (self.rows(rows) for rows in strips(self.shape))

    def whole(self, out: np.ndarray | None = None) -> np.ndarray:
        """The picture in one array: a new one, or `out`, which may be the frame that it is made of."""
        parts = list(strips(self.shape))
        if out is None and len(parts) == 1:
            return self.rows(parts[0])
        picture = np.empty(self.shape, np.uint8) if out is None else out
        for rows in parts:
            picture[rows] = self.rows(rows)
        return picture


def stretched(picture: np.ndarray, shape_hw: tuple[int, int]) -> Rows:
    """Draws a picture at (height, width) into new arrays; a picture that grows is never held at that size as a whole.

    Args:
        picture: uint8 (h, w) or (h, w, channels).
        shape_hw: Height and width.
    """
    height, width = shape_hw
    if height < picture.shape[0] or width < picture.shape[1]:
        picture = resize_near(picture, (width, height))
    if picture.shape[:2] == shape_hw:
        return lambda rows: picture[rows].copy()
    last = picture.shape[0] - 1
    at = np.clip((np.arange(height) + 0.5) * (picture.shape[0] / height) - 0.5, 0, last)
    upper = at.astype(int)
    lower = np.minimum(upper + 1, last)
    share = (at - upper).astype(np.float32).reshape(-1, *[1] * (picture.ndim - 1))

    def draw(rows: slice) -> np.ndarray:
        between = picture[upper[rows]] * (1 - share[rows]) + picture[lower[rows]] * share[rows]
        return cv2.resize(np.round(between).astype(np.uint8), (width, len(between)))

    return draw
