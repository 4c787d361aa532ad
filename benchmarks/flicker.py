"""Flicker of models on a clip: how often still pixels change class, see `seg_edge.flicker`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from seg_edge.bench.candidates import Candidate
from seg_edge.errors import SourceError
from seg_edge.flicker import FlickerMeter


def measure_flicker(name: str, clip: Path, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Runs every model over the clip, each frame on its own, without smoothing.

    Returns:
        `data`, `clip`, `frames`, and `models`: the score by name; None where no pixel ever stood still.

    Raises:
        SourceError: There is no video in it.
        ModelError: A model can't be loaded.
    """
    segmenters = {which.name: which.open(1) for which in candidates}
    meters = {which: FlickerMeter() for which in segmenters}
    video, frames = cv2.VideoCapture(str(clip)), 0
    while (frame := video.read()[1]) is not None:
        for which, segmenter in segmenters.items():
            meters[which].add(segmenter(frame))
        frames += 1
    if not frames:
        raise SourceError(f"{clip}: OpenCV finds no video in it.")
    scores = {which: None if meter.score is None else round(meter.score, 6) for which, meter in meters.items()}
    return {"data": name, "clip": clip.stem, "frames": frames, "models": scores}
