"""Removes specks: regions and holes of a few of a model's pixels, which are more often noise than real."""

from __future__ import annotations

import cv2
import numpy as np


def without_specks(labels: np.ndarray, min_pixels: int) -> np.ndarray:
    """The label map with connected regions of fewer than `min_pixels` pixels replaced by what is around them.

    That is the class next to most of the pixel sides along their outline, the lower one if two are equal. Foreground is
    connected at its corners too, background is not. Background comes last, so that a hole counts as one whether there
    was a speck in it or not.

    Args:
        labels: uint8 (h, w).
        min_pixels: Of a region that stays.
    """
    classes = int(labels.max(initial=0)) + 1
    # Framed with one more class, every pixel has four neighbours.
    framed = cv2.copyMakeBorder(labels.astype(np.int16), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=classes)
    pixels, stride = framed.ravel(), framed.shape[1]
    for index in [*range(1, classes), 0]:
        plane = (framed == index).view(np.uint8)
        count, numbers = cv2.connectedComponents(plane, connectivity=8 if index else 4)
        regions = numbers.ravel()
        small = np.bincount(regions) < min_pixels
        small[0] = False  # the pixels of other classes
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
