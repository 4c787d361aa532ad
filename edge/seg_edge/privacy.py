"""Hides the people in a picture so that nothing can be brought back: what is left of each is a few coarse colours.

A region is grown by a margin, as models cut off hair and fingers, and everything under it is replaced by the colours of
at most 4x4 cells, each rounded to one of 8 levels a channel. Blurring or a finer mosaic would leave what a program can
recognise (McPherson, Shokri and Shmatikov, Defeating Image Obfuscation with Deep Learning, 2016).

What the model misses stays visible. Look at every picture before it is published.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from seg_edge.postprocess import ScoreMap

CELLS = 4  # along a region's longer side
LEVELS = 8
LIKELY = 0.25  # lower than the 0.5 of the label map: rather a wall hidden than a face shown
MARGIN = 0.02  # of the picture's longer side


def hidden_part(scores: ScoreMap) -> np.ndarray:
    """What is hidden, at the score map's size: uint8 (h, w), 255 where a person may be, the margin included."""
    height, width = scores.stored.shape[:2]
    likely = scores.probabilities((height, width))[..., 0] < 1 - LIKELY
    reach = (2 * math.ceil(MARGIN * width) + 1, 2 * math.ceil(MARGIN * height) + 1)
    return cv2.dilate(likely.astype(np.uint8) * 255, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, reach))


def hide_people(frame: np.ndarray, scores: ScoreMap) -> np.ndarray:
    """The frame with all foreground replaced by coarse cells.

    Args:
        frame: BGR uint8 (height, width, 3).
        scores: The model's, for this frame.

    Returns:
        BGR uint8 (height, width, 3), a new array.
    """
    hidden = hidden_part(scores)
    height, width = frame.shape[:2]
    down, across = height / hidden.shape[0], width / hidden.shape[1]
    covered = cv2.resize(hidden, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = frame.copy(order="C")
    for left, top, columns, rows, _ in cv2.connectedComponentsWithStats(hidden)[2][1:]:
        # Stretched bilinearly, a region reaches into the pixels of the score map around it.
        window = (
            slice(max(0, math.floor((top - 1) * down)), math.ceil((top + rows + 1) * down)),
            slice(max(0, math.floor((left - 1) * across)), math.ceil((left + columns + 1) * across)),
        )
        cv2.copyTo(_mosaic(frame[window]), covered[window], picture[window])
    return picture


def _mosaic(part: np.ndarray) -> np.ndarray:
    height, width = part.shape[:2]
    cell = max(height, width) / CELLS
    cells_wh = (min(width, math.ceil(width / cell)), min(height, math.ceil(height / cell)))
    step = 256 // LEVELS
    colours = cv2.resize(part, cells_wh, interpolation=cv2.INTER_AREA) // step * step + step // 2
    return cv2.resize(colours, (width, height), interpolation=cv2.INTER_NEAREST)
