"""The edge of the foreground: how much of each pixel it covers, and in which colour.

Alpha comes from the label map and not from the probabilities: solid inside, nothing outside, soft over three pixels
along the outline. What a model is unsure of is not half transparent in the photo; docs/decisions/solid-alpha.md has
the figures. Everything can be computed for some rows at a time, so that a large picture needs no second copy.
"""

from __future__ import annotations

import cv2
import numpy as np

SOFT_PX = 3
REACH = 3  # samples on each side that give an edge pixel its colour
ALL = slice(None)


def with_margin(labels: np.ndarray, rows: slice) -> tuple[np.ndarray, slice]:
    """Some rows of a plane with the rows above and below, where they exist; and the slice of the rows within these."""
    top, bottom, _ = rows.indices(len(labels))
    first = max(0, top - 1)
    return labels[first : bottom + 1], slice(top - first, bottom - first)


def soft_alpha(labels: np.ndarray, rows: slice = ALL) -> np.ndarray:
    """How much of each pixel is foreground: the mean over the 3x3 pixels around it.

    Args:
        labels: uint8 (height, width), 0 is background.
        rows: Of which rows; all by default.

    Returns:
        uint8 (rows, width); 255 is all foreground.
    """
    part, inner = with_margin(labels, rows)
    alpha = cv2.threshold(part, 0, 255, cv2.THRESH_BINARY)[1]
    return cv2.blur(alpha, (SOFT_PX, SOFT_PX), alpha, borderType=cv2.BORDER_REPLICATE)[inner]


def window_of(plane: np.ndarray) -> tuple[slice, slice]:
    """The rectangle outside of which a uint8 plane is 0; at least one pixel, as OpenCV rejects empty arrays."""
    left, top, width, height = cv2.boundingRect(plane)
    return slice(top, top + max(height, 1)), slice(left, left + max(width, 1))


def soft_pixels(alpha: np.ndarray) -> np.ndarray:
    """Indices in `alpha.ravel()` of the pixels that are neither all foreground nor all background."""
    return np.flatnonzero(cv2.inRange(alpha, 1, 254).view(bool))


class Foreground:
    """The foreground of a frame, in colours free of the background that a photo's pixels mix in at its soft edge.

    Each colour at the edge is the mean of nearby pixels that are certainly foreground, sampled on a grid of about a
    thousand cells a side. Where there are none, the frame's own colour stays.

    Args:
        frame: BGR uint8 (height, width, 3).
        labels: uint8 (height, width), 0 is background.
        own_alpha: uint8 (height, width), the frame's own transparency: the foreground is nowhere less transparent.
    """

    def __init__(self, frame: np.ndarray, labels: np.ndarray, own_alpha: np.ndarray | None = None):
        self._frame, self._labels, self._own_alpha = frame, labels, own_alpha
        self._step = step = 1 + max(labels.shape) // 1000
        sure = _all_foreground(_all_foreground(labels, step).T, step).T.astype(np.uint8)
        self._columns = sure.shape[1]
        self._total = _sums(cv2.copyTo(np.ascontiguousarray(frame[::step, ::step]), sure)).reshape(-1, 3)
        self._count = _sums(sure).ravel()

    def rows(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """(colours, alpha) of some rows: BGR uint8 (n, width, 3), a new array, and uint8 (n, width)."""
        alpha, soft, edge = self._edge(rows)
        colours = self._frame[rows].copy(order="C")
        colours.reshape(-1, 3)[soft] = edge
        return colours, alpha

    def over(self, below: np.ndarray, rows: slice) -> None:
        """Puts some rows over `below`, BGR uint8 (n, width, 3), in place."""
        alpha, soft, edge = self._edge(rows)
        _paste(below, self._frame[rows], alpha, soft, edge)

    def _edge(self, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The alpha of some rows, where it is soft, and the colours there, uint8 (soft pixels, 3)."""
        edge, frame = soft_alpha(self._labels, rows), self._frame[rows]
        alpha = edge if self._own_alpha is None else cv2.min(edge, self._own_alpha[rows])
        soft = soft_pixels(alpha)
        y, x = np.divmod(soft, alpha.shape[1])
        cell = (y + rows.start) // self._step * self._columns + x // self._step
        total, count = self._total[cell], self._count[cell]
        mean = (total + count[:, np.newaxis] / 2) // np.maximum(count, 1)[:, np.newaxis]
        mixed = (count > 0) & (edge.ravel()[soft] < 255)  # the others are soft by the frame's own transparency
        return alpha, soft, np.where(mixed[:, np.newaxis], mean, frame.reshape(-1, 3)[soft]).astype(np.uint8)


def _all_foreground(labels: np.ndarray, step: int) -> np.ndarray:
    """Whether each `step`-th row, and the ones above and below it, are foreground: bool (rows, width)."""
    rows = np.arange(0, len(labels), step)
    above, below = np.maximum(rows - 1, 0), np.minimum(rows + 1, len(labels) - 1)
    return (labels[rows] > 0) & (labels[above] > 0) & (labels[below] > 0)


def _sums(samples: np.ndarray) -> np.ndarray:
    side = 2 * REACH + 1
    return cv2.boxFilter(samples, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)


def paste(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> None:
    """Puts `above` over `below`, in place; both BGR uint8 (h, w, 3), alpha uint8 (h, w), 255 shows `above` alone.

    `below` must be C-contiguous.
    """
    soft = soft_pixels(alpha)
    _paste(below, above, alpha, soft, above.reshape(-1, 3)[soft])


def _paste(below: np.ndarray, above: np.ndarray, alpha: np.ndarray, soft: np.ndarray, edge: np.ndarray) -> None:
    pixels = below.reshape(-1, 3)
    background = pixels[soft].astype(np.int32)
    share = alpha.ravel()[soft][:, np.newaxis].astype(np.int32)
    cv2.copyTo(above, alpha, below)
    pixels[soft] = (background * (255 - share) + edge * share + 127) // 255


def with_alpha(bgr: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Adds transparency: BGRA uint8 (h, w, 4); fully transparent pixels are black."""
    bgra = cv2.insertChannel(alpha, cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA), 3)
    return cv2.copyTo(bgra, alpha)
