"""The edge of the foreground: how much of each pixel it covers, and in which colour.

Alpha comes from the label map and not from the probabilities: solid inside, nothing outside, soft over three pixels
along the outline. What a model is unsure of is not half transparent in the photo. docs/decisions/solid-alpha.md has
the figures.
"""

from __future__ import annotations

import cv2
import numpy as np

SOFT_PX = 3
REACH = 3  # samples on each side that give an edge pixel its colour


def soft_alpha(labels: np.ndarray) -> np.ndarray:
    """How much of each pixel is foreground: the mean over the 3x3 pixels around it.

    Args:
        labels: uint8 (height, width), 0 is background.

    Returns:
        uint8 (height, width); 255 is all foreground.
    """
    alpha = cv2.threshold(labels, 0, 255, cv2.THRESH_BINARY)[1]
    return cv2.blur(alpha, (SOFT_PX, SOFT_PX), alpha, borderType=cv2.BORDER_REPLICATE)


def window_of(plane: np.ndarray) -> tuple[slice, slice]:
    """The rectangle outside of which a uint8 plane is 0; at least one pixel, as OpenCV takes no empty arrays."""
    left, top, width, height = cv2.boundingRect(plane)
    return slice(top, top + max(height, 1)), slice(left, left + max(width, 1))


def soft_pixels(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that are neither all foreground nor all background."""
    soft = cv2.threshold(cv2.inRange(alpha, 1, 254), 0, 1, cv2.THRESH_BINARY)[1]
    return np.divmod(np.flatnonzero(soft.view(bool)), alpha.shape[1])


def foreground_colours(frame: np.ndarray, alpha: np.ndarray, soft: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Colours of the foreground at its soft edge, free of the background that a photo's pixels mix in there.

    Each is the mean of the surely foreground pixels nearby, which are sampled on a grid of about a thousand. Where
    there are none, the photo's own colour stays.

    Args:
        frame: BGR uint8 (height, width, 3).
        alpha: uint8 (height, width).
        soft: n rows and n columns, see `soft_pixels`.

    Returns:
        BGR uint8 (n, 3).
    """
    step = 1 + max(alpha.shape) // 1000
    sure = cv2.threshold(np.ascontiguousarray(alpha[::step, ::step]), 254, 1, cv2.THRESH_BINARY)[1]
    samples = cv2.copyTo(np.ascontiguousarray(frame[::step, ::step]), sure)
    cell = (soft[0] // step, soft[1] // step)
    total, count = _sums(samples)[cell], _sums(sure)[cell][:, np.newaxis]
    mean = (total + count / 2) // np.maximum(count, 1)
    return np.where(count > 0, mean, frame[soft]).astype(np.uint8)


def _sums(samples: np.ndarray) -> np.ndarray:
    side = 2 * REACH + 1
    return cv2.boxFilter(samples, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)


def paste(below: np.ndarray, above: np.ndarray, alpha: np.ndarray, clean: bool = False) -> None:
    """Puts `above` over `below`, in place; both BGR uint8 (h, w, 3), alpha uint8 (h, w), 255 shows `above` alone.

    Args:
        below: Changed.
        above: Of the same size.
        alpha: Of the same size.
        clean: Take `foreground_colours` at soft edges.
    """
    window = window_of(alpha)
    below, above, alpha = below[window], above[window], alpha[window]
    soft = soft_pixels(alpha)
    behind = below[soft].astype(np.int32)
    colours = foreground_colours(above, alpha, soft) if clean else above[soft]
    share = alpha[soft][:, np.newaxis].astype(np.int32)
    cv2.copyTo(above, alpha, below)
    below[soft] = (behind * (255 - share) + colours * share + 127) // 255
