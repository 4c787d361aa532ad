"""Steady masks from both sides: where frames may wait, those that follow tell of a frame what those before it can't.

`smooth.py` remembers the past; here the next frames are added to it, each as far as the picture stood still until then.
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

MOST_FRAMES = 15  # whose pictures wait too; in 4K they have 25 MB each


@dataclass(frozen=True, eq=False)
class _Held:
    """An answer that waits, with its own scores and picture, and what was remembered when it came; all float32."""

    answer: Segmentation
    scores: np.ndarray
    picture: np.ndarray
    mean_scores: np.ndarray
    mean_picture: np.ndarray
    frames: np.ndarray


class Lookahead:
    """Steadies the answers of one stream, each when `frames` more have come. Not to be shared between threads.

    Args:
        frames: How many, 1 to 15.
        smooth: How long the past is remembered, as of `TemporalSmoother`; the answers themselves must not be smoothed.

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

    def add(self, answer: Segmentation) -> Segmentation | None:
        """Takes the answer for the next frame; gives the steady one of the frame `frames` before it, or None yet."""
        timing_ms = dict(answer.timing_ms)
        with timed(timing_ms, "postprocess"):
            self._hold(replace(answer, timing_ms=timing_ms))
        return self._steady() if len(self._held) > self.frames else None

    def rest(self) -> Iterator[Segmentation]:
        """The answers that still wait, when no more come."""
        while self._held:
            yield self._steady()

    def _hold(self, answer: Segmentation) -> None:
        scores = answer.score_map.stored
        picture = small_picture(answer.pixels, scores.shape)
        if self._memory is None:
            self._memory = Memory(scores, picture)
        else:
            self._memory.take(scores, picture, self._limit)
        means = (self._memory.scores.copy(), self._memory.picture.copy(), self._memory.frames.copy())
        flat = (len(scores), -1)
        own = (scores.reshape(flat).astype(np.float32), picture.reshape(flat).astype(np.float32))
        self._held.append(_Held(answer, *own, *means))

    def _steady(self) -> Segmentation:
        held = self._held.popleft()
        timing_ms = dict(held.answer.timing_ms)
        with timed(timing_ms, "postprocess"):
            score_map = self._mean_scores(held)
            labels = score_map.labels(held.answer.labels.shape)  # type: ignore[arg-type]
        return replace(held.answer, labels=labels, score_map=score_map, timing_ms=timing_ms)

    def _mean_scores(self, held: _Held) -> ScoreMap:
        stored = held.answer.score_map.stored
        holds, total = np.ones_like(held.frames), held.frames.copy()
        scores = held.mean_scores.reshape(stored.shape) * total[..., np.newaxis]
        for later in self._held:
            holds *= trust(later.picture - held.mean_picture)
            scores += holds[..., np.newaxis] * later.scores.reshape(stored.shape)
            total += holds
        scores /= total[..., np.newaxis]
        if stored.dtype != np.float32:
            scores = np.rint(scores).astype(stored.dtype)
        return replace(held.answer.score_map, stored=scores)
