"""Smooths masks with past and future frames, at the cost of delay.

`smooth.py` remembers the past; here the next frames are added to it, each weighted by how still the picture has been.
See `docs/decisions/steady-masks.md`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from seg_edge.errors import UsageError
from seg_edge.postprocess import ScoreMap
from seg_edge.segmentation import Segmentation
from seg_edge.smooth import DEFAULT_SMOOTH, LONGEST_MEMORY, Memory, small_picture, trust
from seg_edge.timing import timed

MOST_FRAMES = 15  # their pictures are held too, in 4K 25 MB each


@dataclass(frozen=True, eq=False)
class _Held:
    """A segmentation that waits, with its own scores and picture, and the memory when it was added; all float32."""

    segmentation: Segmentation
    scores: np.ndarray
    picture: np.ndarray
    mean_scores: np.ndarray
    mean_picture: np.ndarray
    frames: np.ndarray


class Lookahead:
    """Smooths the segmentations of one stream, each when `frames` more have come. Not to be shared between threads.

    Args:
        frames: How many, 1 to 15.
        smooth: How long the past is remembered, see `TemporalSmoother`; the segmentations must not be smoothed already.

    Raises:
        UsageError: One of them is out of range.

    Attributes:
        frames: As given.
    """

    def __init__(self, frames: int, smooth: float = DEFAULT_SMOOTH):
        if not 1 <= frames <= MOST_FRAMES or not 0 <= smooth <= 1:
            raise UsageError(
                f"lookahead must be 1 to {MOST_FRAMES} frames and smooth 0 to 1, got {frames} and {smooth}."
            )
        self.frames = frames
        self._limit = LONGEST_MEMORY**smooth
        self._memory: Memory | None = None
        self._held: deque[_Held] = deque()

    def add(self, segmentation: Segmentation) -> Segmentation | None:
        """Adds the next frame's segmentation; returns the smoothed one of `frames` frames earlier, None at first."""
        timing_ms = dict(segmentation.timing_ms)
        with timed(timing_ms, "postprocess"):
            self._hold(replace(segmentation, timing_ms=timing_ms))
        return self._smoothed() if len(self._held) > self.frames else None

    def rest(self) -> Iterator[Segmentation]:
        """The smoothed segmentations still held, when no more frames come."""
        while self._held:
            yield self._smoothed()

    def _hold(self, segmentation: Segmentation) -> None:
        scores = segmentation.score_map.stored
        picture = small_picture(segmentation.pixels, scores.shape)
        if self._memory is None:
            self._memory = Memory(scores, picture)
        else:
            self._memory.add(scores, picture, self._limit)
        means = (self._memory.scores.copy(), self._memory.picture.copy(), self._memory.frames.copy())
        flat = (len(scores), -1)
        own = (scores.reshape(flat).astype(np.float32), picture.reshape(flat).astype(np.float32))
        self._held.append(_Held(segmentation, *own, *means))

    def _smoothed(self) -> Segmentation:
        held = self._held.popleft()
        timing_ms = dict(held.segmentation.timing_ms)
        with timed(timing_ms, "postprocess"):
            score_map = self._mean_scores(held)
            labels = score_map.labels(held.segmentation.labels.shape)  # type: ignore[arg-type]
        return replace(held.segmentation, labels=labels, score_map=score_map, timing_ms=timing_ms)

    def _mean_scores(self, held: _Held) -> ScoreMap:
        stored = held.segmentation.score_map.stored
        weight, total = np.ones_like(held.frames), held.frames.copy()
        scores = held.mean_scores.reshape(stored.shape) * total[..., np.newaxis]
        for later in self._held:
            weight *= trust(later.picture - held.mean_picture)
            scores += weight[..., np.newaxis] * later.scores.reshape(stored.shape)
            total += weight
        scores /= total[..., np.newaxis]
        if stored.dtype != np.float32:
            scores = np.rint(scores).astype(stored.dtype)
        return replace(held.segmentation.score_map, stored=scores)
