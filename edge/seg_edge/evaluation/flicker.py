"""The flicker score: how often a pixel changes class while the picture there stands still.

Over all pairs of consecutive frames it is

    still pixels whose class differs between the two / still pixels

on the model's input grid, at best 0. A pixel is still when the picture, blurred over 5x5 pixels, changed by at most
2 of 255 levels there and within 5 pixels around; so the edges of moving objects don't count, and a panning camera gives
no score rather than a bad one. It needs neither ground truth nor optical flow, so it can run while the camera does.

Related measures: the warping error of W.-S. Lai et al., "Learning Blind Video Temporal Consistency" (ECCV 2018), the
change between frames where they aren't occluded after optical flow has aligned them; and the temporal consistency of
S. Varghese et al., "Unsupervised Temporal Consistency Metric for Video Segmentation in Highly-Automated Driving" (CVPR
Workshops 2020), the overlap of a prediction with the previous one, warped by the flow. This score is their case of no
motion, counted in pixels, where alignment costs nothing and can't be wrong.
"""

from __future__ import annotations

import cv2
import numpy as np

from seg_edge.segmentation import Segmentation

BLUR = (5, 5)
# Levels of 255. In webcam clips, 99.9 % of the pixels of a plain wall change by no more between frames.
NOISE = 2
REACH = np.ones((11, 11), np.uint8)  # 5 pixels to each side


class FlickerMeter:
    """Scores the flicker of a stream, frame by frame; see the module for the definition. Keeps one frame in memory."""

    def __init__(self) -> None:
        self._still = self._flickered = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, result: Segmentation) -> None:
        """Adds the result for the next frame; its `labels` and `pixels` are used, and neither is kept."""
        height, width = result.pixels.shape[:2]
        labels = cv2.resize(result.labels, (width, height), interpolation=cv2.INTER_NEAREST)
        picture = cv2.blur(result.pixels, BLUR)
        last, self._last = self._last, (labels, picture)
        if last is None or last[1].shape != picture.shape:
            return
        change = cv2.cvtColor(cv2.absdiff(picture, last[1]), cv2.COLOR_RGB2GRAY)
        still = cv2.dilate(change, REACH) <= NOISE
        self._still += int(np.count_nonzero(still))
        self._flickered += int(np.count_nonzero(still & (labels != last[0])))

    @property
    def score(self) -> float | None:
        """Share of still pixels that changed class, 0..1, over all frames so far; None without still pixels."""
        return self._flickered / self._still if self._still else None
