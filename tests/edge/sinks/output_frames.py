"""Synthetic frames for sinks, with known labels; no model runs."""

from __future__ import annotations

import time

import numpy as np

from seg_edge.card import make_classes
from seg_edge.interpreter import TensorSpec
from seg_edge.postprocess import ScoreMap
from seg_edge.segmentation import Segmentation
from seg_edge.sinks.sink import OutputFrame
from tests.tiny import noise

CLASSES = make_classes(["background", "person", "cat"])


def make_output_frame(
    number: int = 1,
    shape_hw: tuple[int, int] = (48, 64),
    *,
    value: int | None = None,
    age_ms: float = 12.5,
    fps: float = 29.97,
) -> OutputFrame:
    """One frame: its left half is `person`, the rest background, `cat` is absent.

    The picture is of one grey, `value`, or if that is None noise that depends on `number` (the hardest to encode).
    """
    labels = np.zeros(shape_hw, np.uint8)
    labels[:, : shape_hw[1] // 2] = 1
    scores = np.zeros((8, 8, len(CLASSES)), np.float32)
    scores[:, :4, 1] = scores[:, 4:, 0] = 1
    spec = TensorSpec("scores", (1, *scores.shape), np.float32)
    pixels = np.zeros((32, 32, 3), np.uint8)
    timing = {"preprocess": 0.5, "inference": 8.0, "postprocess": 0.7}
    result = Segmentation(labels, CLASSES, ScoreMap(scores, spec, "probabilities"), pixels, timing)
    picture = noise(shape_hw, number) if value is None else np.full((*shape_hw, 3), value, np.uint8)
    frame = np.full((*shape_hw, 3), 90, np.uint8)
    for shared in (labels, picture, frame):
        shared.flags.writeable = False  # sinks share them, so a sink that writes into them fails its test
    return OutputFrame(number, time.monotonic() - age_ms / 1000, age_ms, fps, frame, result, picture)
