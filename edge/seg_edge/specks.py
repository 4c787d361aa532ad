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
    classes = int(labels.max(initial=0)) + 1
    # In a frame of no class every pixel has four neighbours.
    framed = cv2.copyMakeBorder(labels.astype(np.int16), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=classes)
    pixels, stride = framed.ravel(), framed.shape[1]
    for index in [*range(1, classes), 0]:
        of_class = (framed == index).view(np.uint8)
        count, numbers = cv2.connectedComponents(of_class, connectivity=8 if index else 4)
        regions = numbers.ravel()
        small = np.bincount(regions) < least
        small[0] = False  # what isn't of the class
        if not small.any():
            continue
        at = np.flatnonzero(small[regions])
        own = regions[at] * (classes + 1)
        sides = np.concatenate([own + pixels[at + step] for step in (-1, 1, -stride, stride)])
        facing = np.bincount(sides, minlength=count * (classes + 1)).reshape(count, classes + 1)
        facing[:, [index, classes]] = 0
        becomes = np.where(facing.any(axis=1), facing.argmax(axis=1), index)
        pixels[at] = becomes[regions[at]]
    return framed[1:-1, 1:-1].astype(np.uint8)
