"""The ranges that a tensor's 256 steps cover."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
from keras import layers

from convert.quantisation.ranges import BINS, Histogram, by_percentile, choose_ranges, histograms, least_squares, minmax


def histogram_of(values: np.ndarray) -> Histogram:
    low, high = min(0.0, values.min()), max(0.0, values.max())
    others = values[values != 0]
    return Histogram(low, high, np.histogram(others, BINS, (low, high))[0], values.size - others.size)


def error_of(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of actually rounding to 256 steps."""
    step = (high - low) / 255
    zero = round(-low / step)
    rounded = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
    return float(np.mean((rounded - values) ** 2))


def test_minmax_covers_everything() -> None:
    assert minmax(histogram_of(np.array([-2.0, 0.5, 7.0]))) == (-2.0, 7.0)


def test_a_percentile_leaves_out_its_share_at_each_end() -> None:
    values = np.random.default_rng(0).uniform(-1, 3, 200_000)
    low, high = by_percentile(histogram_of(values), 99)
    assert low == pytest.approx(-1 + 0.04, abs=0.004)
    assert high == pytest.approx(3 - 0.04, abs=0.004)


def test_percentiles_count_zeros_and_ranges_include_zero() -> None:
    values = np.concatenate([np.zeros(99_000), np.linspace(5, 6, 1000)])
    assert by_percentile(histogram_of(values), 98) == pytest.approx((0.0, 0.0), abs=0.01)
    assert by_percentile(histogram_of(values), 99.5)[1] == pytest.approx(5.5, abs=0.01)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("rectified", [True, False])
def test_least_squares_beats_other_ranges(sign: int, rectified: bool) -> None:
    values = sign * np.random.default_rng(1).standard_t(3, 50_000)
    values = np.maximum(values, 0) if rectified else values
    histogram = histogram_of(values)
    found = least_squares(histogram)
    error = error_of(values, *found)
    assert error < error_of(values, *minmax(histogram))
    for factor in (0.6, 1.6):
        assert error < error_of(values, found[0] * factor, found[1] * factor)


def test_least_squares_keeps_a_range_without_outliers() -> None:
    assert least_squares(histogram_of(np.random.default_rng(0).uniform(-2, 5, 50_000))) == pytest.approx(
        (-2.0, 5.0), abs=0.1
    )


def test_histograms_count_every_value_of_every_image() -> None:
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.ReLU(name="relu")(layers.DepthwiseConv2D(1, name="copy")(image)))
    model.get_layer("copy").set_weights([np.ones((1, 1, 3, 1)), np.zeros(3)])
    images = [np.full((1, 4, 4, 3), value, np.float32) for value in (-1.0, 0.25, 1.0)]
    found = histograms(model, images)["relu"]
    assert (found.low, found.high, found.zeros, found.counts.sum()) == (0.0, 1.0, 48, 96)
    assert found.centres[found.counts > 0] == pytest.approx([0.25, 1.0], abs=1 / BINS)


def test_a_tensor_that_is_always_zero_has_a_range() -> None:
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.ReLU(name="relu")(layers.Conv2D(2, 1, kernel_initializer="zeros")(image)))
    for method in ("minmax", "percentile", "mse"):
        low, high = choose_ranges(model, [np.ones((1, 4, 4, 3), np.float32)], method)["relu"]
        assert low <= 0 < high
