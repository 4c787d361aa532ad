"""Draws the regions of a photo into its label map."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from seg_edge.evaluation.metrics import IGNORE
from train.annotations.region import HOLE, Region, is_reserved

_SHIFT = 4  # fillPoly's coordinates are in 1/16 pixel


def draw_mask(regions: Sequence[Region], shape_hw: tuple[int, int], labels: Sequence[str]) -> np.ndarray:
    """The label map of one photo; later regions lie over earlier ones.

    A point (x, y) is the centre of the pixel in column x and row y, and the outline belongs to the region, as with
    OpenCV's fillPoly and findContours: the square from (2, 2) to (6, 6) fills 5x5 pixels. Coordinates are rounded to
    1/16 pixel; what lies outside the photo is clipped.

    Args:
        regions: In drawing order.
        shape_hw: Height and width of the upright photo, pixels.
        labels: Class names by label; labels[0] is the background.

    Returns:
        uint8 (height, width), each value an index into `labels`.
    """
    mask = np.zeros(shape_hw, np.uint8)
    for region in regions:
        value = _value(region.label, labels)
        if region.bitmap is not None:
            _paste(mask, region.bitmap(), region.points_xy.min(axis=0), value)
        else:
            points = np.rint(region.points_xy * 2**_SHIFT).astype(np.int32)
            cv2.fillPoly(mask, [points], value, shift=_SHIFT)
    return mask


def _value(label: str, labels: Sequence[str]) -> int:
    if is_reserved(label):
        return 0 if label.casefold() == HOLE else IGNORE
    return labels.index(label)


def _paste(mask: np.ndarray, bitmap: np.ndarray, left_top: np.ndarray, value: int) -> None:
    left, top = (round(float(at)) for at in left_top)
    height, width = bitmap.shape
    part = mask[max(0, top) : top + height, max(0, left) : left + width]
    part[bitmap[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]] > 0] = value
