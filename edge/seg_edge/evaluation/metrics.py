"""Scores of a label map against the truth, using only NumPy and OpenCV.

All take uint8 label maps of equal shape (height, width); truth pixels of value 255 don't count. Confusion matrices
add up over photos, so the scores from them can be computed for a photo or for a folder.
"""

from __future__ import annotations

import cv2
import numpy as np

IGNORE = 255
# Boundary tolerance as a share of the diagonal: the 0.75 % of the DAVIS benchmark (Perazzi et al., CVPR 2016).
BOUNDARY_TOLERANCE = 0.0075


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by true class (row) and predicted class (column), int64 (classes, classes).

    Raises:
        ValueError: The shapes differ, or a label is not one of the classes.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape} and prediction {predicted.shape}; they must be equal")
    counts = truth != IGNORE
    truth, predicted = truth[counts], predicted[counts]
    highest = max(truth.max(initial=0), predicted.max(initial=0))
    if highest >= classes:
        raise ValueError(f"a label of {highest} is not one of {classes} classes")
    pairs = truth.astype(np.int64) * classes + predicted
    # On 32-bit systems bincount returns int32, which the pixels of a few hundred photos overflow.
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def dice(matrix: np.ndarray) -> np.ndarray:
    """Dice coefficient `2|X∩Y| / (|X|+|Y|)` of each class, float64 (classes,); NaN for an absent one (Dice, 1945)."""
    sizes = matrix.sum(axis=0) + matrix.sum(axis=1)
    return _divide(2 * np.diag(matrix), sizes)


def iou(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union `|X∩Y| / |X∪Y|` of each class, float64 (classes,); NaN for an absent one (Jaccard)."""
    overlap = np.diag(matrix)
    return _divide(overlap, matrix.sum(axis=0) + matrix.sum(axis=1) - overlap)


def mean_foreground(values: np.ndarray) -> float:
    """Mean over the classes except the background (index 0) and absent ones (NaN); NaN if none is left."""
    known = values[1:][~np.isnan(values[1:])]
    return float(known.mean()) if known.size else float("nan")


def boundary_f(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Boundary F of each class, float64 (classes,): how well the outlines agree; NaN for background and absent ones.

    The harmonic mean of precision and recall of boundary pixels; those within the tolerance of the other boundary count
    as found (Martin et al., PAMI 2004; tolerance as in Perazzi et al., CVPR 2016).
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape} and prediction {predicted.shape}; they must be equal")
    reach = max(1.0, BOUNDARY_TOLERANCE * float(np.hypot(*truth.shape)))
    ignored = truth == IGNORE
    scores = np.full(classes, np.nan)
    for index in range(1, classes):
        true_edge = _edge(truth == index, ignored)
        found_edge = _edge((predicted == index) & ~ignored, ignored)
        if not true_edge.any() and not found_edge.any():
            continue
        if not true_edge.any() or not found_edge.any():
            scores[index] = 0.0
            continue
        precision = np.mean(_distance_to(true_edge)[found_edge] <= reach)
        recall = np.mean(_distance_to(found_edge)[true_edge] <= reach)
        scores[index] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


def _edge(region: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Pixels of the region with a neighbour outside it; borders on ignored pixels or the frame's edge don't count."""
    filled = (region | ignored).astype(np.uint8)
    inner = cv2.erode(filled, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return region & (inner == 0)


def _distance_to(edge: np.ndarray) -> np.ndarray:
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
