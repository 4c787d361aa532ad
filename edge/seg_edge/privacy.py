"""Hides the people in a picture irreversibly: all that is left of each is a few coarse colours.

A region is grown by a margin, as models cut off hair and fingers, and everything under it is replaced by the colours of
at most 4x4 cells, each rounded to one of 8 levels a channel. Programs can recognise people under a blur or a finer
mosaic (McPherson, Shokri and Shmatikov, Defeating Image Obfuscation with Deep Learning, 2016).

What the model misses stays visible. Check every picture before you publish it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from seg_edge.postprocess import ScoreMap
from seg_edge.strips import Rows

CELLS = 4  # along a region's longer side
MIN_CELL_PX = 16  # a smaller region becomes one colour, rather than its own few pixels
LEVELS = 8
LIKELY = 0.25  # lower than the 0.5 of the label map: better to hide some wall than to show a face
MARGIN = 0.02  # of the picture's longer side


def hidden_part(scores: ScoreMap) -> np.ndarray:
    """The part to hide, at the score map's size: uint8 (h, w), 255 where a person may be, margin and holes included."""
    height, width = scores.stored.shape[:2]
    likely = scores.probabilities((height, width))[..., 0] < 1 - LIKELY
    reach = (2 * math.ceil(MARGIN * width) + 1, 2 * math.ceil(MARGIN * height) + 1)
    hidden = cv2.dilate(likely.astype(np.uint8) * 255, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, reach))
    outlines, _ = cv2.findContours(hidden, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(hidden, outlines, -1, 255, cv2.FILLED)


def without_people(frame: np.ndarray, scores: ScoreMap) -> Rows:
    """Draws the frame with all foreground replaced by coarse cells.

    Args:
        frame: BGR uint8 (height, width, 3).
        scores: The model's, for this frame.
    """
    hidden = hidden_part(scores)
    height, width = frame.shape[:2]
    down, across = height / hidden.shape[0], width / hidden.shape[1]
    mosaics = []
    for left, top, columns, rows, _ in cv2.connectedComponentsWithStats(hidden)[2][1:]:
        # Stretched bilinearly, a region reaches into the pixels of the score map around it.
        high = slice(max(0, math.floor((top - 1) * down)), min(height, math.ceil((top + rows + 1) * down)))
        wide = slice(max(0, math.floor((left - 1) * across)), min(width, math.ceil((left + columns + 1) * across)))
        mosaics.append((high, wide, _cells(frame[high, wide])))
    covered = cv2.resize(hidden, (width, height))

    def draw(rows: slice) -> np.ndarray:
        picture, mask = frame[rows].copy(order="C"), covered[rows]
        for high, wide, cells in mosaics:
            lines = np.arange(max(rows.start, high.start), min(rows.stop, high.stop))
            if lines.size:
                colours = cells[(lines - high.start) * len(cells) // (high.stop - high.start)]
                colours = cv2.resize(colours, (wide.stop - wide.start, len(lines)), interpolation=cv2.INTER_NEAREST)
                part = slice(lines[0] - rows.start, lines[-1] + 1 - rows.start), wide
                cv2.copyTo(colours, mask[part], picture[part])
        return picture

    return draw


def _cells(part: np.ndarray) -> np.ndarray:
    """The mean colour of each cell, rounded to the middle of its level."""
    height, width = part.shape[:2]
    cell = max(MIN_CELL_PX, max(height, width) / CELLS)
    cells_wh = (math.ceil(width / cell), math.ceil(height / cell))
    step = 256 // LEVELS
    return cv2.resize(part, cells_wh, interpolation=cv2.INTER_AREA) // step * step + step // 2
