"""The edge of the foreground: how much of each pixel it covers, and in which colour.

Alpha comes from the label map and not from the probabilities: solid inside, nothing outside, soft over three pixels
along the outline. What a model is unsure of is not half transparent in the photo. docs/decisions/solid-alpha.md has
the figures. All of it can be had for some rows of a picture at a time, so that a large one needs no second copy.
"""

from __future__ import annotations

import cv2
import numpy as np

from seg_edge.strips import strips

SOFT_PX = 3
REACH = 3  # samples on each side that give an edge pixel its colour
ALL = slice(None)


def with_margin(labels: np.ndarray, rows: slice) -> tuple[np.ndarray, slice]:
    """Some rows of a plane with one more above and below where there is one, and where they are in that."""
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
    """The rectangle outside of which a uint8 plane is 0; at least one pixel, as OpenCV takes no empty arrays."""
    left, top, width, height = cv2.boundingRect(plane)
    return slice(top, top + max(height, 1)), slice(left, left + max(width, 1))


def soft_pixels(alpha: np.ndarray) -> np.ndarray:
    """Which pixels are neither all foreground nor all background: their flat indices, ascending."""
    soft = cv2.threshold(cv2.inRange(alpha, 1, 254), 0, 1, cv2.THRESH_BINARY)[1]
    return np.flatnonzero(soft.view(bool))


class Foreground:
    """The foreground of a frame, in colours free of the background that a photo's pixels mix in at its soft edge.

    Each colour there is the mean of the surely foreground pixels nearby, which are sampled on a grid of about a
    thousand. Where there are none, the frame's own colour stays.

    Args:
        frame: BGR uint8 (height, width, 3).
        labels: uint8 (height, width), 0 is background.
        own_alpha: uint8 (height, width), the frame's own transparency: the foreground is nowhere less transparent.
    """

    def __init__(self, frame: np.ndarray, labels: np.ndarray, own_alpha: np.ndarray | None = None):
        self._frame, self._labels, self._own_alpha = frame, labels, own_alpha
        self._step = step = 1 + max(labels.shape) // 1000
        alpha = np.concatenate(
            [soft_alpha(labels, rows)[-rows.start % step :: step, ::step] for rows in strips(labels.shape)]
        )
        sure = cv2.threshold(alpha, 254, 1, cv2.THRESH_BINARY)[1]
        self._count, self._total = np.zeros(alpha.shape, np.uint16), np.zeros((*alpha.shape, 3), np.uint16)
        down, across = window_of(sure)
        near = np.s_[max(0, down.start - REACH) : down.stop + REACH, max(0, across.start - REACH) : across.stop + REACH]
        self._count[near] = _sums(sure[near])
        samples = np.ascontiguousarray(frame[::step, ::step][near])
        self._total[near] = _sums(cv2.copyTo(samples, np.ascontiguousarray(sure[near])))

    def rows(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """(colours, alpha) of some rows: BGR uint8 (n, width, 3), a new array, and uint8 (n, width)."""
        alpha, colours = soft_alpha(self._labels, rows), self._frame[rows].copy(order="C")
        soft = soft_pixels(alpha)
        down, across = np.divmod(soft, alpha.shape[1])
        cell = (down + rows.start) // self._step * len(self._count[0]) + across // self._step
        total, count = _taken(self._total, cell), self._count.ravel()[cell][:, np.newaxis]
        mean = (total + count // 2) // np.maximum(count, 1)
        _put(colours, soft, np.where(count > 0, mean, _taken(colours, soft)).astype(np.uint8))
        return colours, alpha if self._own_alpha is None else cv2.min(alpha, self._own_alpha[rows])


def _sums(samples: np.ndarray) -> np.ndarray:
    side = 2 * REACH + 1
    return cv2.boxFilter(samples, cv2.CV_16U, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)


def _taken(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return np.take(picture.reshape(-1, 3), pixels, axis=0)


def _put(picture: np.ndarray, pixels: np.ndarray, colours: np.ndarray) -> None:
    # A pixel as one item of three bytes: NumPy is ten times as fast at these as at rows of three.
    np.frombuffer(picture, "V3")[pixels] = colours.view("V3")[:, 0]


def paste(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> None:
    """Puts one picture over another, in place.

    Args:
        below: BGR uint8 (height, width, 3), contiguous.
        above: Of the same shape.
        alpha: uint8 (height, width); 255 shows `above` alone.
    """
    soft = soft_pixels(alpha)
    share = alpha.ravel()[soft][:, np.newaxis].astype(np.int32)
    mixture = (_taken(below, soft) * (255 - share) + _taken(above, soft) * share + 127) // 255
    cv2.copyTo(above, alpha, below)
    _put(below, soft, mixture.astype(np.uint8))


def with_alpha(bgr: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Adds transparency, BGRA uint8 (h, w, 4); where nothing is seen there is no colour either."""
    bgra = cv2.insertChannel(alpha, cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA), 3)
    return cv2.copyTo(bgra, alpha)
