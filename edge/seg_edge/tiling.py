"""Large and long photos in tiles: what is too small for the model in the whole photo is found in a tile.

Tiles overlap by half. Their scores are averaged, weighted towards each tile's middle, where the model sees the most
context, and become one score map, as if the model had a larger input.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import cv2
import numpy as np

from seg_edge.errors import UsageError
from seg_edge.postprocess import ScoreMap, upsample
from seg_edge.preprocess import check_frame, resize_to_input
from seg_edge.segmentation import Segmentation
from seg_edge.segmenter import Segmenter
from seg_edge.timing import timed

Tiles = str | int

LONG = 2.0  # proportions beyond which a photo is not stretched to the model's input as a whole
LARGE = 4  # times the model's input along the shorter side: the model can't see the details of such a photo at once
FOUND = 0.1  # share of a large photo: with more foreground than this it has its subject, and tiles are not needed
AUTO_TILES = 4
MAX_TILES = 100  # along a side


def check_tiles(tiles: Tiles) -> None:
    """Refuses what is neither `auto`, `off` nor a number of tiles from 2 to 100.

    Raises:
        UsageError: It is something else.
    """
    if tiles not in ("auto", "off") and not (isinstance(tiles, int) and 2 <= tiles <= MAX_TILES):
        raise UsageError(f"tiles must be auto, off or a number from 2 to {MAX_TILES}, got {tiles!r}.")


def segment_tiled(
    segmenter: Segmenter, frame: np.ndarray, tiles: Tiles = "auto", most: int = MAX_TILES
) -> Segmentation:
    """Segments a photo, in tiles where that finds more.

    `auto` uses tiles if the photo is longer than 2:1, or if it is large and less than a tenth of it was found to be
    foreground. N tiles along the longer side cost N inferences for each row of tiles, and one more for the whole photo;
    at 4:3 the 4 tiles of `auto` cost 13.

    Args:
        segmenter: Without smoothing.
        frame: BGR uint8 (height, width, 3).
        tiles: `auto`, `off`, or the number of tiles along the longer side, overlapping by half.
        most: The most tiles that `auto` uses along a long photo.

    Returns:
        The segmentation; its `timing_ms` are sums over the tiles.

    Raises:
        UsageError: See `check_tiles`.
    """
    check_tiles(tiles)
    check_frame(frame)
    height, width = frame.shape[:2]
    timing_ms: dict[str, float] = {}
    if max(height, width) > LONG * min(height, width) and tiles != "off":
        whole, count = None, tiles if isinstance(tiles, int) else min(most, _square_tiles(frame.shape[:2]))
    else:
        whole = _at_model_size(segmenter, frame, timing_ms)
        auto = AUTO_TILES if _may_miss(whole, frame.shape[:2], segmenter.card.input_size_wh) else 0
        count = tiles if isinstance(tiles, int) else auto if tiles == "auto" else 0
    if count or whole is None:
        whole = _in_tiles(segmenter, frame, count, whole, timing_ms)
    with timed(timing_ms, "postprocess"):
        labels = whole.score_map.labels((height, width))
    return replace(whole, labels=labels, timing_ms=timing_ms)


def _at_model_size(segmenter: Segmenter, frame: np.ndarray, timing_ms: dict[str, float]) -> Segmentation:
    """A segmentation with labels at the model's size, as tiles need no more; adds its times to `timing_ms`."""
    with timed(timing_ms, "preprocess"):
        pixels = resize_to_input(frame, segmenter.card.input_size_wh)
    segmentation = segmenter(pixels, pixels)
    for stage, elapsed_ms in segmentation.timing_ms.items():
        timing_ms[stage] = timing_ms.get(stage, 0.0) + elapsed_ms
    return segmentation


def _square_tiles(shape_hw: tuple[int, int]) -> int:
    """How many overlapping tiles of a long photo's height fit along it."""
    return math.ceil(2 * max(shape_hw) / min(shape_hw)) - 1


def _may_miss(whole: Segmentation, shape_hw: tuple[int, ...], input_size_wh: tuple[int, int]) -> bool:
    large = min(shape_hw) >= LARGE * max(input_size_wh)
    return large and cv2.countNonZero(whole.labels) < FOUND * whole.labels.size


def _in_tiles(
    segmenter: Segmenter, frame: np.ndarray, count: int, whole: Segmentation | None, timing_ms: dict[str, float]
) -> Segmentation:
    """The tiles merged with the whole, if given; the label map is at the model's size."""
    rows, columns = _grid(frame.shape[:2], count)
    total, weights = np.zeros(0), np.zeros(0)
    for row, column in itertools.product(range(rows), range(columns)):
        part = frame[_steps(row, rows, frame.shape[0]), _steps(column, columns, frame.shape[1])]
        tile = _at_model_size(segmenter, part, timing_ms)
        with timed(timing_ms, "postprocess"):
            scores = tile.score_map
            half_hw = [(side + 1) // 2 for side in scores.stored.shape[:2]]
            stored = upsample(scores.stored, (2 * half_hw[0], 2 * half_hw[1])).astype(np.float32)
            if not total.size:
                total = np.zeros((half_hw[0] * (rows + 1), half_hw[1] * (columns + 1), stored.shape[2]), np.float32)
                weights = np.zeros((*total.shape[:2], 1), np.float32)
            weight = np.outer(*(_tent(2 * half) for half in half_hw))[..., np.newaxis]
            window = tuple(slice(half * at, half * (at + 2)) for half, at in zip(half_hw, (row, column), strict=True))
            total[window] += stored * weight
            weights[window] += weight
    with timed(timing_ms, "postprocess"):
        scores = _merge(scores, total / weights, whole)
    pixels = whole.pixels if whole else resize_to_input(frame, segmenter.card.input_size_wh)
    return replace(tile, score_map=scores, pixels=pixels)


def _grid(shape_hw: tuple[int, ...], count: int) -> tuple[int, int]:
    """Rows and columns of tiles that overlap by half, `count` along the longer side, about as high as wide."""
    step = max(shape_hw) / (count + 1)
    rows, columns = (max(1, round(side / step) - 1) for side in shape_hw)
    return rows, columns


def _steps(at: int, count: int, side: int) -> slice:
    """The extent of tile `at` of `count` along a side: a tile covers two steps."""
    start = min(round(at * side / (count + 1)), side - 1)
    return slice(start, max(round((at + 2) * side / (count + 1)), start + 1))


def _tent(length: int) -> np.ndarray:
    """Weights along a tile, highest in its middle and never 0."""
    return 1 - np.abs((np.arange(length, dtype=np.float32) + 0.5) * 2 / length - 1)


def _merge(scores: ScoreMap, stored: np.ndarray, whole: Segmentation | None) -> ScoreMap:
    """The score map of `stored`, or where it has more foreground that of the whole, in the model's numbers.

    Both are means of the same quantised numbers, so they only need rounding.
    """
    if whole is not None:
        of_whole = upsample(whole.score_map.stored, stored.shape[:2]).reshape(stored.shape).astype(np.float32)  # type: ignore[arg-type]
        stored = np.where(_foreground(of_whole) > _foreground(stored), of_whole, stored)
    if scores.stored.dtype != np.float32:
        stored = np.round(stored)
    spec = replace(scores.spec, shape=(1, *stored.shape))
    return replace(scores, stored=stored.astype(scores.stored.dtype), spec=spec)


def _foreground(stored: np.ndarray) -> np.ndarray:
    if stored.shape[2] == 1:
        return stored
    return stored[..., 1:].max(axis=2, keepdims=True) - stored[..., :1]
