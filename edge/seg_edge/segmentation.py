"""What a Segmenter returns for a frame: the label map, and what can be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from seg_edge.card import ClassInfo
from seg_edge.matte import soft_alpha
from seg_edge.postprocess import Polygon, ScoreMap, find_polygons

# Regions under this share of the picture are specks, not shapes anyone would outline.
SPECK = 0.0005


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result for one frame, everything at the frame's size.

    Attributes:
        labels: uint8 (height, width), 0 is background, `i` is `classes[i]`.
        classes: Names and colours, background first.
        score_map: The model's scores, smaller than the frame; as they came out, or smoothed over time.
        pixels: What the model saw: RGB uint8 (input_h, input_w, 3).
        timing_ms: Milliseconds spent in `preprocess`, `inference` and `postprocess`.
    """

    labels: np.ndarray
    classes: tuple[ClassInfo, ...]
    score_map: ScoreMap
    pixels: np.ndarray
    timing_ms: Mapping[str, float]

    @cached_property
    def areas(self) -> dict[str, float]:
        """Share of the frame's pixels of each class but the background, 0..1."""
        if len(self.classes) == 2:  # several times as fast as a histogram
            return {self.classes[1].name: cv2.countNonZero(self.labels) / self.labels.size}
        counts = cv2.calcHist([self.labels], [0], None, [256], [0, 256]).ravel()
        return {info.name: float(counts[i]) / self.labels.size for i, info in enumerate(self.classes) if i}

    def polygons(self, tolerance: float = 1.0) -> list[Polygon]:
        """Outlines of the regions of each class; those under 0.05 % of the frame are left out."""
        names = tuple(info.name for info in self.classes)
        return find_polygons(self.labels, names, round(SPECK * self.labels.size), tolerance)

    def probabilities(self) -> np.ndarray:
        """Probability of each class at each pixel, float32 (height, width, classes)."""
        return self.score_map.probabilities(self.labels.shape)  # type: ignore[arg-type]

    def alpha(self) -> np.ndarray:
        """How much of each pixel is foreground, uint8 (height, width): 255 inside, 0 outside, soft at the outline."""
        return soft_alpha(self.labels)
