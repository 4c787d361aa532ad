"""Specks: regions and holes of a few of a model's pixels, which are noise more often than what they seem to be."""

from __future__ import annotations

import cv2
import numpy as np


def without_specks(labels: np.ndarray, least: int) -> np.ndarray:
    """The label map in which connected regions of fewer than `least` pixels have become what is around them.

    That is the class that most of the sides of their outline face, the lower one where two are equal. Foreground is
    connected at its corners too, background is not. The background's turn is last, so that a hole is one whether a
    speck was in it or not.

    Args:
        labels: uint8 (h, w).
        least: Of a region that stays, in pixels.
    """
    cleaned = labels.copy()
    for index in [*range(1, int(labels.max(initial=0)) + 1), 0]:
        of_class = (cleaned == index).view(np.uint8)
        count, regions = cv2.connectedComponents(of_class, connectivity=8 if index else 4)
        small = np.bincount(regions.ravel()) < least
        if not small[1:].any():
            continue
        facing = _sides(regions, cleaned, count)
        becomes = np.where(small & facing.any(axis=1), facing.argmax(axis=1), index).astype(np.uint8)
        cleaned = np.where(of_class, becomes[regions], cleaned)
    return cleaned


def _sides(regions: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """How many sides of the outline of each region face each class, (count, classes)."""
    classes = int(labels.max()) + 1
    sides = np.zeros(count * classes, np.intp)
    for region, label in ((regions, labels), (regions.T, labels.T)):
        above, below = region[:-1], region[1:]
        differ = above != below
        sides += np.bincount(above[differ] * classes + label[1:][differ], minlength=len(sides))
        sides += np.bincount(below[differ] * classes + label[:-1][differ], minlength=len(sides))
    return sides.reshape(count, classes)
