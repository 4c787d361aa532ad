"""x."""

from __future__ import annotations

import cv2
import numpy as np

from seg_edge.segmenter import Segmentation

BLUR = (5, 5)
STILL = 2
REACH = 5


class FlickerMeter:
    """x."""

    def __init__(self) -> None:
        self.reset()
        self._reach = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)

    def reset(self):
        self._labels = self._picture = None
        self.changed = self.still = 0

    def add(self, answer: Segmentation) -> None:
        height, width = answer.pixels.shape[:2]
        labels = cv2.resize(answer.labels, (width, height), interpolation=cv2.INTER_NEAREST)
        picture = cv2.blur(answer.pixels, BLUR)
        if self._picture is not None and self._picture.shape == picture.shape:
            moved = still_mask(self._picture, picture, self._reach)
            still = cv2.compare(moved, STILL, cv2.CMP_LE)
            self.still += cv2.countNonZero(still)
            changed = cv2.compare(labels, self._labels, cv2.CMP_NE)
            self.changed += cv2.countNonZero(cv2.bitwise_and(changed, still))
        self._labels, self._picture = labels, picture

    @property
    def score(self):
        return self.changed / self.still if self.still else None

def still_mask(a, b, reach):
    return cv2.dilate(cv2.cvtColor(cv2.absdiff(a, b),cv2.COLOR_RGB2GRAY), reach)
