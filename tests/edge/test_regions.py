"""Which regions are kept: the largest, those large enough, with their holes filled."""

import cv2
import numpy as np
import pytest

from seg_edge import Segmentation
from seg_edge.card import make_classes
from seg_edge.effects import EffectSettings
from seg_edge.interpreter import TensorSpec
from seg_edge.postprocess import ScoreMap
from seg_edge.regions import select_regions

PHOTO = (300, 400)


def scene(channels: int, dtype: type[np.generic] = np.uint8, hole: bool = False) -> Segmentation:
    """Regions of 20x10, 8x8 and 2x2 of 30x40 scores; with three channels the 8x8 is of another class."""
    labels = np.zeros((30, 40), np.uint8)
    labels[5:25, 4:14] = 1
    labels[10:18, 20:28] = 2 if channels == 3 else 1
    labels[26:28, 35:37] = 1
    if hole:
        labels[12:15, 8:11] = 0
    planes = np.where(labels[..., np.newaxis] == np.arange(max(channels, 2)), 200, 50)
    stored = planes[..., -1:] if channels == 1 else planes
    spec = TensorSpec("out", (1, *stored.shape), dtype, 0.1 if dtype != np.float32 else 0.0, 125)
    stored = stored.astype(dtype) if dtype != np.float32 else (stored.astype(np.float32) - 125) / 10
    scores = ScoreMap(np.ascontiguousarray(stored), spec, "logits")
    return Segmentation(
        scores.labels(PHOTO), make_classes(("background", "a", "b")[: max(channels, 2)]), scores, labels, {}
    )


def regions(result: Segmentation) -> int:
    return cv2.connectedComponents((result.labels > 0).astype(np.uint8))[0] - 1


def test_default_settings_change_nothing() -> None:
    result = scene(2)
    assert select_regions(result, EffectSettings()) is result


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_only_the_largest_is_left(channels: int, dtype: type[np.generic]) -> None:
    result = scene(channels, dtype)
    left = select_regions(result, EffectSettings(only="largest"))
    assert regions(result) == 3
    assert regions(left) == 1
    window = (slice(None), slice(0, 170))
    np.testing.assert_array_equal(left.labels[window], result.labels[window])
    assert not left.labels[:, 170:].any()
    assert left.areas["a"] == pytest.approx(200 / 1200, rel=0.1)
    assert not left.alpha()[:, 170:].any()
    assert len(left.polygons()) == 1


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("min_area", "count"), [(0.001, 3), (0.01, 2), (0.1, 1), (0.5, 0)])
def test_small_regions_are_dropped(channels: int, min_area: float, count: int) -> None:
    assert regions(select_regions(scene(channels), EffectSettings(min_area=min_area))) == count


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_only_holes_are_filled(channels: int) -> None:
    whole, holed = scene(channels), scene(channels, hole=True)
    filled = select_regions(holed, EffectSettings(fill_holes=True))
    assert (holed.labels != whole.labels).any()
    np.testing.assert_array_equal(filled.labels, whole.labels)


def test_background_at_the_border_is_not_a_hole() -> None:
    labels = np.ones((20, 20), np.uint8)
    labels[5:10, :4] = 0
    stored = np.dstack([1 - labels, labels]) * np.uint8(100)
    scores = ScoreMap(stored, TensorSpec("out", (1, 20, 20, 2), np.uint8, 0.1, 0), "logits")
    result = Segmentation(scores.labels((20, 20)), make_classes(("background", "a")), scores, labels, {})
    np.testing.assert_array_equal(select_regions(result, EffectSettings(fill_holes=True)).labels, labels)


def test_one_of_two_equal_regions_is_kept() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:8, 2:8] = labels[2:8, 12:18] = 1
    stored = np.dstack([1 - labels, labels]) * np.uint8(100)
    scores = ScoreMap(stored, TensorSpec("out", (1, 20, 20, 2), np.uint8, 0.1, 0), "logits")
    result = Segmentation(scores.labels((20, 20)), make_classes(("background", "a")), scores, labels, {})
    assert regions(select_regions(result, EffectSettings(only="largest"))) == 1


@pytest.mark.parametrize("value", [0, 200])
def test_all_or_nothing_found(value: int) -> None:
    stored = np.dstack([np.full((8, 8), 100), np.full((8, 8), value)]).astype(np.uint8)
    scores = ScoreMap(stored, TensorSpec("out", (1, 8, 8, 2), np.uint8, 0.1, 0), "logits")
    result = Segmentation(scores.labels((8, 8)), make_classes(("background", "a")), scores, stored, {})
    left = select_regions(result, EffectSettings(only="largest", min_area=0.1, fill_holes=True))
    np.testing.assert_array_equal(left.labels, result.labels)
