"""The flicker score on sequences whose score is known."""

import cv2
import numpy as np
import pytest

from seg_edge import Segmentation, Segmenter
from seg_edge.card import make_classes
from seg_edge.evaluation.flicker import FlickerMeter
from seg_edge.interpreter import TensorSpec
from seg_edge.postprocess import ScoreMap
from tests import tiny

SIDE = 128
CLASSES = make_classes(["background", "thing"])
NO_SCORES = ScoreMap(np.zeros((1, 1, 2), np.float32), TensorSpec("scores", (1, 1, 1, 2), np.float32), "logits")


def result_of(labels: np.ndarray, picture: np.ndarray) -> Segmentation:
    return Segmentation(labels.astype(np.uint8), CLASSES, NO_SCORES, picture, {})


def textured(width: int = SIDE) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(40, 200, (SIDE // 4, width // 4, 3), np.uint8)
    return cv2.resize(coarse, (width, SIDE), interpolation=cv2.INTER_CUBIC)


def noisy(picture: np.ndarray, generator: np.random.Generator, level: float = 2.0) -> np.ndarray:
    return np.clip(picture + generator.normal(0, level, picture.shape), 0, 255).astype(np.uint8)


def labels_with(rows: int, shape_hw: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Foreground in the first `rows` of `SIDE` rows, scaled to `shape_hw`."""
    labels = np.zeros(shape_hw, np.uint8)
    labels[: rows * shape_hw[0] // SIDE] = 1
    return labels


def test_no_score_before_there_are_two_frames() -> None:
    meter = FlickerMeter()
    assert meter.score is None
    meter.add(result_of(labels_with(5), textured()))
    assert meter.score is None
    meter.add(result_of(labels_with(5), textured()))
    assert meter.score == 0


@pytest.mark.parametrize("shape_hw", [(SIDE, SIDE), (2 * SIDE, 3 * SIDE), (SIDE // 2, SIDE // 2)])
def test_a_known_share_toggles_in_a_still_picture(shape_hw: tuple[int, int]) -> None:
    """A quarter changes class in every frame, and in the third frame a quarter changes in every other one."""
    generator, meter, background = np.random.default_rng(1), FlickerMeter(), textured()
    for frame in range(11):
        meter.add(result_of(labels_with(32 * (frame % 2), shape_hw), noisy(background, generator)))
    assert meter.score == pytest.approx(0.25, abs=0.01)
    for _ in range(10):
        meter.add(result_of(labels_with(0, shape_hw), noisy(background, generator)))
    assert meter.score == pytest.approx(0.125, abs=0.01)


def test_any_change_of_class_counts() -> None:
    meter = FlickerMeter()
    meter.add(result_of(labels_with(64), textured()))
    meter.add(result_of(labels_with(64) * 2, textured()))
    assert meter.score == 0.5


def test_moving_objects_do_not_flicker() -> None:
    """A square moves over a still picture with its labels; then only the labels move."""
    generator, meter, background = np.random.default_rng(2), FlickerMeter(), textured()
    for frame in range(20):
        picture, labels = background.copy(), labels_with(0)
        left = 5 + 3 * frame
        picture[40:70, left : left + 30] = (240, 240, 240)
        labels[40:70, left : left + 30] = 1
        meter.add(result_of(labels, noisy(picture, generator)))
    assert meter.score == 0
    meter = FlickerMeter()
    for frame in range(20):
        labels = np.roll(labels_with(20), 3 * frame, axis=0)
        meter.add(result_of(labels, noisy(background, generator)))
    assert meter.score is not None
    assert meter.score > 0.01


def test_a_panning_camera_has_no_still_pixel() -> None:
    generator, meter, wide = np.random.default_rng(3), FlickerMeter(), textured(3 * SIDE)
    for frame in range(20):
        meter.add(result_of(labels_with(frame), noisy(wide[:, 4 * frame : 4 * frame + SIDE], generator)))
    assert meter.score is None or meter.score < 0.001


def test_frames_of_another_size_start_another_stream() -> None:
    meter = FlickerMeter()
    meter.add(result_of(labels_with(0), textured()))
    meter.add(result_of(labels_with(0), textured()[:64]))  # another model
    assert meter.score is None


def test_a_real_result_is_accepted_and_not_changed() -> None:
    segment, meter = Segmenter(tiny.TWO_UINT8, threads=1), FlickerMeter()
    first = segment(tiny.bright_square())
    labels, pixels = first.labels.copy(), first.pixels.copy()
    meter.add(first)
    meter.add(segment(tiny.bright_square()))
    assert meter.score == 0
    np.testing.assert_array_equal(first.labels, labels)
    np.testing.assert_array_equal(first.pixels, pixels)
