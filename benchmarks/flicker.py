"""Flicker of models on a clip: how often still pixels change class, see `seg_edge.evaluation.flicker`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg_edge.apps.bench.candidates import Candidate
from seg_edge.errors import SourceError
from seg_edge.evaluation.flicker import FlickerMeter
from seg_edge.segmenter import Segmenter


def measure_flicker(name: str, clip: Path, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Runs every model over the clip, frame by frame, without smoothing.

    Returns:
        `data`, `clip`, `frames`, and `models`: the score by name; None if no pixel ever stayed still.

    Raises:
        SourceError: It has no video.
        ModelError: A model can't be loaded.
    """
    frames, scores = flicker_of([model.open(1) for model in candidates], clip)
    rounded = [None if score is None else round(score, 6) for score in scores]
    models = {model.name: score for model, score in zip(candidates, rounded, strict=True)}
    return {"data": name, "clip": clip.stem, "frames": frames, "models": models}


def flicker_of(segmenters: Sequence[Segmenter], clip: Path) -> tuple[int, list[float | None]]:
    """The number of frames of the clip, and the score of each model.

    Raises:
        SourceError: It has no video.
    """
    meters, frames = [FlickerMeter() for _ in segmenters], 0
    for frame in read_frames(clip):
        for meter, segmenter in zip(meters, segmenters, strict=True):
            meter.add(segmenter(frame))
        frames += 1
    return frames, [meter.score for meter in meters]


def read_frames(clip: Path) -> Iterator[np.ndarray]:
    """The frames of a video, BGR uint8 (height, width, 3).

    Raises:
        SourceError: There are none.
    """
    video, frame = cv2.VideoCapture(str(clip)), None
    while (found := video.read()[1]) is not None:
        frame = found
        yield frame
    if frame is None:
        raise SourceError(f"{clip}: OpenCV can't read a video from it.")
