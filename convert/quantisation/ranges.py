"""Chooses the real values that a tensor's 256 int8 steps cover, from its values on photos.

A range that covers all values (`minmax`) wastes steps on rare outliers; a narrower one clips these and has finer steps
for the rest. `percentile` leaves out a share of the values at each end; `mse` balances the errors of clipping and
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from convert.quantisation.fake_quant import IMAGE, IMAGE_RANGE, Range, range_points
from train.keras_model import compiled

METHODS = ("minmax", "percentile", "mse")
PERCENTILE = 99.99
BINS = 8192
STEPS = 255
CANDIDATES = 128  # per end of the range in the search of `mse`


@dataclass(frozen=True, eq=False)
class Histogram:
    """The distribution of a tensor's values.

    Attributes:
        low: The lowest value, at most 0.
        high: The highest value, at least 0.
        counts: Counts of the non-zero values in equal bins from `low` to `high`, int64 (BINS,).
        zeros: Count of exact zeros, which int8 represents without error.
    """

    low: float
    high: float
    counts: np.ndarray
    zeros: int

    @property
    def centres(self) -> np.ndarray:
        """The bins' centres, float64 (BINS,)."""
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS


def choose_ranges(
    folded: keras.Model, images: Sequence[np.ndarray], method: str, percentile: float = PERCENTILE
) -> dict[str, Range]:
    """A range for each tensor that int8 inference rounds.

    Args:
        folded: The network without batch normalisation.
        images: Training images, float32 (1, height, width, 3), RGB 0..1.
        method: One of `METHODS`.
        percentile: 50..100, for the method of that name: this share of the values lies below the upper end of the
            range, and the same share above the lower end.

    Returns:
        Ranges by the names that `convert.quantisation.fake_quant.with_fake_quant` expects; each includes 0.
    """
    choose = {"minmax": minmax, "percentile": lambda h: by_percentile(h, percentile), "mse": least_squares}[method]
    found = {name: choose(histogram) for name, histogram in histograms(folded, images).items()}
    # A tensor that is always 0 needs a range too: its scale can't be 0.
    return {IMAGE: IMAGE_RANGE, **{name: r if r[0] < r[1] else (0.0, 1.0) for name, r in found.items()}}


def minmax(histogram: Histogram) -> Range:
    """From the lowest value to the highest."""
    return histogram.low, histogram.high


def by_percentile(histogram: Histogram, percentile: float) -> Range:
    """Leaves out the share `100 - percentile` of all values at each end, to the precision of a bin."""
    centres, counts = _with_zeros(histogram)
    below = np.cumsum(counts)
    cut = below[-1] * (1 - percentile / 100)
    edges = np.searchsorted(below, [cut, below[-1] - cut], side="left").clip(0, len(centres) - 1)
    half = (histogram.high - histogram.low) / BINS / 2
    low, high = centres[edges[0]] - half, centres[edges[1]] + half
    return max(histogram.low, min(0.0, float(low))), min(histogram.high, max(0.0, float(high)))


def least_squares(histogram: Histogram) -> Range:
    """The range with the lowest mean squared error on a grid (Nagel et al., 2021, arXiv:2106.08295, eq. 8).

    The error is the squared distance of clipped values to the range, plus `step ** 2 / 12` for each value inside, the
    rounding error of values spread evenly over a step (Banner et al., 2019, arXiv:1810.05723); exact zeros have none.
    """
    share = np.arange(1, CANDIDATES + 1) / CANDIDATES
    lows = histogram.low * share if histogram.low < 0 else np.zeros(1)
    highs = histogram.high * share if histogram.high > 0 else np.zeros(1)
    centres, counts = histogram.centres, histogram.counts
    clipped_below = np.array([np.sum(counts * np.minimum(centres - low, 0) ** 2) for low in lows])
    clipped_above = np.array([np.sum(counts * np.maximum(centres - high, 0) ** 2) for high in highs])
    below = np.array([counts[centres < low].sum() for low in lows])
    above = np.array([counts[centres > high].sum() for high in highs])
    inside = counts.sum() - below[:, np.newaxis] - above
    step = (highs - lows[:, np.newaxis]) / STEPS
    error = clipped_below[:, np.newaxis] + clipped_above + inside * step**2 / 12
    best = np.unravel_index(np.argmin(error), error.shape)
    return float(lows[best[0]]), float(highs[best[1]])


def histograms(folded: keras.Model, images: Sequence[np.ndarray]) -> dict[str, Histogram]:
    """Histograms of all rounded tensors except the image, over these images."""
    names = range_points(folded)
    probe = keras.Model(folded.input, [folded.get_layer(name).output for name in names])
    run = compiled(probe)
    extremes = np.array([[(np.min(t), np.max(t)) for t in keras.tree.flatten(run(image))] for image in images])
    lows, highs = np.minimum(extremes[..., 0].min(axis=0), 0.0), np.maximum(extremes[..., 1].max(axis=0), 0.0)
    counts, zeros = np.zeros((len(names), BINS), np.int64), np.zeros(len(names), np.int64)
    for image in images:
        for index, tensor in enumerate(keras.tree.flatten(run(image))):
            values = tensor.numpy().ravel()
            nonzero = values[values != 0]
            zeros[index] += values.size - nonzero.size
            width = float(highs[index] - lows[index]) or 1.0
            bins = ((nonzero - lows[index]) * (BINS / width)).astype(np.int64)
            counts[index] += np.bincount(bins.clip(0, BINS - 1), minlength=BINS)
    return {
        name: Histogram(float(low), float(high), count, int(zero))
        for name, low, high, count, zero in zip(names, lows, highs, counts, zeros, strict=True)
    }


def _with_zeros(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Bin centres and counts with the zeros inserted in order."""
    centres = histogram.centres
    at = int(np.searchsorted(centres, 0.0))
    return np.insert(centres, at, 0.0), np.insert(histogram.counts, at, histogram.zeros)
