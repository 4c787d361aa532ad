"""The photos that models do worst on, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from seg_edge import Segmenter
from seg_edge.effects import OVERLAY_OPACITY
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.evaluation.scores import Scores
from seg_edge.photo.read import read_photo
from seg_edge.photo.write import write_picture
from seg_edge.sinks.legend import TextRenderer


def draw_worst(
    shown: Mapping[str, Segmenter], examples: Sequence[Example], scores: Scores, path: Path, count: int = 8
) -> None:
    """Draws the photos with the lowest Dice, worst first: photo, ground truth and each model's result side by side.

    Args:
        shown: The models by name, with the same classes.
        examples: The photos.
        scores: Scores to rank them by.
        path: The picture to write.
        count: At most this many; photos without a Dice are left out, and if none is left nothing is written.
    """
    by_name = {example.name: example for example in examples}
    ranked = sorted((photo for photo in scores.photos if not np.isnan(photo.dice)), key=lambda photo: photo.dice)
    width, renderer = 320 * (2 + len(shown)), TextRenderer(400)
    rows = []
    for photo in ranked[:count]:
        example = by_name[photo.name]
        frame = read_photo(example.image)
        results = [_tint(frame, segmenter(frame).labels, segmenter) for segmenter in shown.values()]
        mask = example.load_mask()
        truth = _tint(frame, mask, next(iter(shown.values())))
        height = round(320 * frame.shape[0] / frame.shape[1])
        row = cv2.resize(np.hstack([frame, truth, *results]), (width, height), interpolation=cv2.INTER_AREA)
        caption = np.full((26, width, 3), 255, np.uint8)
        ignored = " (grey: ignored)" if (mask == IGNORE).any() else ""
        text = f"{photo.name}: Dice {photo.dice:.3f}    {' | '.join(['photo', f'truth{ignored}', *shown])}"
        renderer.write(caption, text, (6, 3), (0, 0, 0))
        rows += [caption, row]
    if rows:
        write_picture(path, np.vstack(rows))


def _tint(frame: np.ndarray, labels: np.ndarray, segmenter: Segmenter) -> np.ndarray:
    colours = np.array([info.colour[::-1] for info in segmenter.classes], np.uint8)
    plane = colours[np.where(labels == IGNORE, 0, labels)]
    tinted = cv2.addWeighted(plane, OVERLAY_OPACITY, frame, OVERLAY_OPACITY, 0)
    tinted[labels == IGNORE] = 127
    return np.where((labels > 0)[..., np.newaxis], tinted, frame)
