"""Smooths masks over time: scores are remembered where the picture stands still, and forgotten where it moves.

A recursive temporal filter that adapts to motion, as video denoisers use it on the picture (E. Dubois and S. Sabri,
"Noise Reduction in Image Sequences Using Motion-Compensated Temporal Filtering", IEEE Trans. Communications 32, 1984;
review: J. Brailean et al., "Noise Reduction Filters for Dynamic Image Sequences", Proc. IEEE 83, 1995), here without
motion compensation, and steered by the picture while it filters the scores. See `docs/decisions/steady-masks.md`.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from seg_edge.errors import UsageError
from seg_edge.postprocess import MAX_CHANNELS, ScoreMap

DEFAULT_SMOOTH = 0.5
LONGEST_MEMORY = 20.0  # frames, at smooth = 1
# Levels of 255 that the blurred picture may differ from the remembered one. Sensor noise is about 1 after the blur,
# an edge that moves by one pixel makes 10 and more.
TOLERANCE = 5.0
# The median change is attributed to the camera's exposure, up to this many levels: what moves covers less than half of
# the picture, or differs by more.
EXPOSURE = 8.0
NEAR = np.ones((3, 3), np.uint8)
# How much of a memory holds, by the picture's difference: all within the noise, nothing at twice the tolerance.
TRUST = np.exp(-((np.arange(256, dtype=np.float32) / TOLERANCE) ** 4))


class TemporalSmoother:
    """Smooths the scores of consecutive frames of one stream. Not to be shared between threads.

    Each pixel's scores are the mean over its memory of n frames. The memory grows by one with each frame up to
    `20 ** smooth`, from there on old frames fade exponentially, and it shrinks to the newest frame alone where the
    picture differs from the remembered one. The picture is remembered in the same way, so slow motion is noticed too.

    Args:
        smooth: From 0, which changes nothing, to 1, the smoothest.

    Raises:
        UsageError: `smooth` is outside 0..1.
    """

    def __init__(self, smooth: float = DEFAULT_SMOOTH):
        if not 0 <= smooth <= 1:
            raise UsageError(f"smooth is {smooth}; it must be from 0 (off) to 1 (smoothest).")
        self.smooth = smooth
        self._limit = LONGEST_MEMORY**smooth
        self._memory: Memory | None = None

    def reset(self) -> None:
        """Forgets everything, for another stream."""
        self._memory = None

    def __call__(self, scores: ScoreMap, pixels: np.ndarray) -> ScoreMap:
        """Smooths one frame's scores.

        Args:
            scores: Of the frame after the last call's. With another shape the memory starts over.
            pixels: What the model saw: RGB uint8 (input_h, input_w, 3).

        Returns:
            Scores of the same shape, dtype and kind in a new array; the same object if `smooth` is 0, and for the
            first frame.
        """
        if not self.smooth:
            return scores
        stored = scores.stored
        picture = small_picture(pixels, stored.shape)
        if self._memory is None or self._memory.scores_shape != stored.shape:
            self._memory = Memory(stored, picture)
            return scores
        return replace(scores, stored=self._memory.add(stored, picture, self._limit))


def small_picture(pixels: np.ndarray, scores_shape: tuple[int, ...]) -> np.ndarray:
    """What the model saw at the size of its scores, a little blurred: uint8 (h, w, 3)."""
    return cv2.blur(cv2.resize(pixels, scores_shape[1::-1], interpolation=cv2.INTER_AREA), (3, 3))


def trust(change: np.ndarray) -> np.ndarray:
    """How much of a memory still holds: 1 where the picture stands still, 0 where it moved.

    Args:
        change: The difference of the two pictures in levels of 255, float32 (h, w * 3).

    Returns:
        float32 (h, w).
    """
    exposure = min(max(_median(change[::8, ::8]), -EXPOSURE), EXPOSURE)
    moved = cv2.convertScaleAbs(change, beta=-exposure).reshape(change.shape[0], -1, 3)
    # The grey of the colours' differences, unlike the difference of their greys, sees a change of hue alone.
    return cv2.LUT(cv2.dilate(cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY), NEAR), TRUST)


class Memory:
    """The memory of scores (h, w, channels) and picture (h, w, 3), as float32 in their own units.

    Attributes:
        scores: Their mean, (h, w * channels).
        picture: The mean picture, (h, w * 3).
        frames: How many each pixel's mean is made of, (h, w).
    """

    def __init__(self, scores: np.ndarray, picture: np.ndarray):
        self._scores, self._picture = _Mean(scores), _Mean(picture)
        self.frames = np.ones(picture.shape[:2], np.float32)
        self._weight = np.empty_like(self.frames)  # of the newest one
        self.scores_shape = scores.shape

    @property
    def scores(self) -> np.ndarray:
        """See the class."""
        return self._scores.mean

    @property
    def picture(self) -> np.ndarray:
        """See the class."""
        return self._picture.mean

    def add(self, scores: np.ndarray, picture: np.ndarray, limit: float) -> np.ndarray:
        """Adds a frame and returns the scores' mean, in their dtype; `limit` is the longest memory in frames."""
        change = self._picture.compare(picture)
        frames = self.frames
        frames *= trust(change)
        frames += 1
        np.minimum(frames, limit, out=frames)
        np.reciprocal(frames, out=self._weight)
        self._picture.follow(self._weight)
        self._scores.compare(scores)
        self._scores.follow(self._weight)
        return self._scores.stored(scores.dtype).reshape(scores.shape)


class _Mean:
    """A running mean of arrays (h, w, channels), kept as float32 (h, w * channels): OpenCV supports only 128 channels.

    Allocating hundreds of kilobytes costs more than the arithmetic on them, so buffers are kept.
    """

    def __init__(self, first: np.ndarray):
        height, width, self._channels = first.shape
        self.mean = first.reshape(height, width * self._channels).astype(np.float32)
        self._buffer, self._change = np.empty_like(self.mean), np.empty_like(self.mean)

    def compare(self, new: np.ndarray) -> np.ndarray:
        """The new array minus the mean, float32 (h, w * channels); valid until the next call of any method."""
        return cv2.subtract(new.reshape(self.mean.shape), self.mean, dst=self._change, dtype=cv2.CV_32F)

    def follow(self, weight: np.ndarray) -> None:
        """Moves the mean by `weight`, float32 (h, w), of its difference to the array last compared."""
        if self._channels <= MAX_CHANNELS:
            cv2.merge([weight] * self._channels, dst=self._buffer.reshape(*weight.shape, self._channels))
        else:
            self._buffer[:] = np.repeat(weight, self._channels, axis=1)
        cv2.multiply(self._change, self._buffer, dst=self._change)
        cv2.add(self.mean, self._change, dst=self.mean)

    def stored(self, dtype: np.dtype) -> np.ndarray:
        """The mean in a new array; rounded for integers, whose range it can't leave."""
        if dtype == np.float32:
            cv2.patchNaNs(self.mean)  # otherwise a single NaN or infinity would stay in the mean for ever
            return self.mean.copy()
        return np.rint(self.mean, out=self._buffer).astype(dtype)


def _median(values: np.ndarray) -> float:
    middle = values.size // 2  # the upper of two; np.median takes five times as long for this few
    return float(np.partition(values, middle, axis=None)[middle])
