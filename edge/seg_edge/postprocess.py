"""From the model's scores to results at the frame's size: label map, probabilities, polygons.

Scores are upsampled before the decision, so edges are smooth rather than made of the model's pixels. Where
possible, that happens on the quantised numbers: every channel of an output shares one scale, so order is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from seg_edge.interpreter import TensorSpec
from seg_edge.specks import without_specks

MAX_CHANNELS = 128  # CV_CN_MAX of OpenCV 5: it supports no more


@dataclass(frozen=True)
class ScoreMap:
    """A model's output.

    Attributes:
        stored: (h, w, channels) in the model's dtype; one channel a class, or one for the only foreground class.
        spec: Of the output tensor.
        kind: `logits` or `probabilities`.
        specks: Regions with fewer pixels than this are left out of the label map, see `seg_edge.specks`; 0 keeps all.
    """

    stored: np.ndarray
    spec: TensorSpec
    kind: str
    specks: int = 0

    def labels(self, shape_hw: tuple[int, int]) -> np.ndarray:
        """The most likely class of every pixel, uint8 `shape_hw`; the lower class if two are equal."""
        if self.specks:
            return self.without_specks().labels(shape_hw)
        channels = self.stored.shape[2]
        best = upsample(np.ascontiguousarray(self.stored[..., 0]), shape_hw)
        if channels == 1:
            return (best > self._threshold()).view(np.uint8)
        if channels == 2:
            # Not the sign of their difference, which isn't a byte: OpenCV resizes only bytes alike on every machine.
            foreground = upsample(self.stored[..., 1].copy(), shape_hw)
            out = foreground.view(bool) if foreground.itemsize == 1 else None  # saves a third plane of a large photo
            return np.greater(foreground, best, out=out).view(np.uint8)
        labels = np.zeros(shape_hw, np.uint8)
        for index in range(1, channels):
            plane = upsample(np.ascontiguousarray(self.stored[..., index]), shape_hw)
            labels[plane > best] = index
            best = cv2.max(best, plane)
        return labels

    def without_specks(self) -> ScoreMap:
        """Scores with the same label map, in which the specks are gone from the scores themselves."""
        if not self.specks:
            return self
        whole = replace(self, specks=0)
        labels = whole.labels(self.stored.shape[:2])  # type: ignore[arg-type]
        return whole.relabelled(labels, without_specks(labels, self.specks))

    def relabelled(self, labels: np.ndarray, wanted: np.ndarray) -> ScoreMap:
        """The scores, changed where needed so that `wanted` becomes their label map.

        The wanted class gets the highest of all scores: one that just sufficed would leave new specks, as bytes are
        resized and rounded.

        Args:
            labels: uint8 (h, w), the scores' label map at their own size.
            wanted: uint8 (h, w), the label map to get.
        """
        stored = self.stored.copy()
        low, high, pixels = stored.min(), stored.max(), stored.reshape(-1, stored.shape[2])
        changed = np.flatnonzero(wanted != labels)
        become = wanted.ravel()[changed]
        if stored.shape[2] == 1:
            pixels[changed, 0] = np.where(become, high, low)
        else:
            pixels[changed] = low
            pixels[changed, become] = high
        return replace(self, stored=stored)

    def _threshold(self) -> float:
        """Above which a single channel means foreground, in the model's own numbers."""
        threshold = 0.5 if self.kind == "probabilities" else 0.0
        if self.spec.scale:
            threshold = threshold / self.spec.scale + self.spec.zero_point
        # To compare integers with a float, NumPy would convert every pixel.
        return threshold if self.stored.dtype == np.float32 else math.floor(threshold)

    def probabilities(self, shape_hw: tuple[int, int]) -> np.ndarray:
        """Probability of each class, float32 (`shape_hw`, classes), background first."""
        scores = upsample(self.spec.dequantise(self.stored), shape_hw).reshape(*shape_hw, -1)
        channels = scores.shape[2]
        if self.kind == "probabilities":
            return np.concatenate([1 - scores, scores], axis=2) if channels == 1 else scores
        if channels <= 2:
            # The softmax of two is the sigmoid of their difference, at a tenth of the work.
            foreground = _sigmoid(scores[..., 0] if channels == 1 else scores[..., 1] - scores[..., 0])
            return cv2.merge([1 - foreground, foreground])
        # Sums over the first axis are sums of planes; over the last they would be many short ones.
        planes = np.ascontiguousarray(np.moveaxis(scores, 2, 0))
        exponent = np.exp(planes - planes.max(axis=0))
        return np.moveaxis(exponent / exponent.sum(axis=0), 0, 2)


def upsample(plane: np.ndarray, shape_hw: tuple[int, int]) -> np.ndarray:
    """Stretches (h, w) or (h, w, channels) of the model's size to (height, width), bilinearly; int8 becomes int16."""
    if plane.dtype == np.int8:
        plane = plane.astype(np.int16)  # OpenCV does not resize int8
    if plane.shape[:2] == shape_hw:
        return plane
    if plane.ndim == 3 and plane.shape[2] > MAX_CHANNELS:
        return np.dstack([upsample(np.ascontiguousarray(layer), shape_hw) for layer in np.moveaxis(plane, 2, 0)])
    return cv2.resize(plane, shape_hw[::-1], interpolation=cv2.INTER_LINEAR)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(values / 2)) / 2  # equals the sigmoid, and can't overflow


@dataclass(frozen=True)
class Polygon:
    """The outline of one connected region of a class.

    Attributes:
        label: The class's name.
        points_xy: int32 (n, 2), n >= 3, pixel centres on the region's edge, closed implicitly. Holes are not part of
            it.
        area: Pixels inside, holes left out.
    """

    label: str
    points_xy: np.ndarray
    area: int


def find_polygons(labels: np.ndarray, names: tuple[str, ...], min_area: int, tolerance: float = 1.0) -> list[Polygon]:
    """Outlines of every connected region of every class, by class and then the largest first.

    Args:
        labels: uint8 (height, width).
        names: Class names by label value, background first.
        min_area: Regions with fewer pixels are left out.
        tolerance: How far, in pixels, an outline may be simplified away from the region's edge (Douglas-Peucker).
    """
    polygons = []
    for index, name in enumerate(names[1:], 1):
        plane = (labels == index).astype(np.uint8)
        count, regions, statistics, _ = cv2.connectedComponentsWithStats(plane, connectivity=8)
        by_area = sorted(range(1, count), key=lambda region: -int(statistics[region, cv2.CC_STAT_AREA]))
        for region in by_area:
            area = int(statistics[region, cv2.CC_STAT_AREA])
            if area < max(min_area, 1):
                break
            left, top, width, height = (int(v) for v in statistics[region, :4])
            window = (regions[top : top + height, left : left + width] == region).astype(np.uint8)
            contours, _ = cv2.findContours(window, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top))
            outline = cv2.approxPolyDP(contours[0], tolerance, closed=True)[:, 0]
            if len(outline) >= 3:
                polygons.append(Polygon(name, outline, area))
    return polygons
