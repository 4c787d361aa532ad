"""Selects which regions are kept: the largest, or those that are large enough; with or without holes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from seg_edge.effects import EffectSettings
from seg_edge.segmentation import Segmentation


def select_regions(segmentation: Segmentation, settings: EffectSettings) -> Segmentation:
    """The segmentation with only the regions that `settings` keeps: `only`, `min_area` and `fill_holes`.

    A region is a connected part of one class. The score map itself is changed, so that labels, areas, outlines
    and pictures agree.

    Returns:
        A new segmentation, or the one given if everything is kept.
    """
    if settings.only == "all" and not settings.min_area and not settings.fill_holes:
        return segmentation
    scores = segmentation.score_map.without_specks()
    labels = scores.labels(scores.stored.shape[:2])  # type: ignore[arg-type]
    wanted = labels.copy()
    if settings.fill_holes:
        _fill_holes(wanted)
    wanted = _keep_regions(wanted, settings.min_area * wanted.size, settings.only == "largest")
    scores = scores.relabelled(labels, wanted)
    return replace(segmentation, score_map=scores, labels=scores.labels(segmentation.labels.shape))  # type: ignore[arg-type]


def _regions(plane: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of each pixel's region in a mask, int32, 0 is none; left, top, width, height and area of each."""
    _, numbers, statistics, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=connectivity)
    return numbers, statistics


def _fill_holes(labels: np.ndarray) -> None:
    """Gives background that a class encloses to the class on its rim."""
    numbers, statistics = _regions(labels == 0, 8)
    height, width = labels.shape
    for number in range(1, len(statistics)):
        left, top, across, down, _ = statistics[number]
        if left == 0 or top == 0 or left + across == width or top + down == height:
            continue
        hole = (numbers == number).astype(np.uint8)
        rim = labels[(cv2.dilate(hole, np.ones((3, 3), np.uint8)) > 0) & (labels > 0)]
        labels[hole > 0] = np.bincount(rim).argmax()


def _keep_regions(labels: np.ndarray, min_pixels: float, only_largest: bool) -> np.ndarray:
    """The label map with the regions of `min_pixels` or more, or the largest of them alone."""
    kept, largest = np.zeros_like(labels), 0
    for label in np.unique(labels[labels > 0]):
        # Corner to corner is not connected: stretched to the photo, such a bridge may break.
        numbers, statistics = _regions(labels == label, 4)
        areas = np.where(statistics[:, cv2.CC_STAT_AREA] >= min_pixels, statistics[:, cv2.CC_STAT_AREA], 0)
        areas[0] = 0
        if not only_largest:
            kept[areas[numbers] > 0] = label
        elif areas.max() > largest:
            largest = int(areas.max())
            kept = np.where(numbers == areas.argmax(), label, 0).astype(np.uint8)
    return kept
