"""Each effect changes what it should and leaves the rest alone, to the pixel."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from seg_edge import Segmentation
from seg_edge.card import ClassInfo
from seg_edge.effects import EFFECTS, GREEN, blend, colour_map, cover, flatten, render
from seg_edge.errors import UsageError
from seg_edge.interpreter import TensorSpec
from seg_edge.postprocess import ScoreMap
from tests import tiny

EMPTY = np.zeros((1, 1, 3), np.uint8)
CLASSES = (
    ClassInfo("background", (0, 0, 0)),
    ClassInfo("cat", (200, 100, 0)),
    ClassInfo("dog", (0, 60, 240)),
)
SHAPE = (96, 128)
BACKGROUND = np.full((30, 40, 3), (10, 20, 30), np.uint8)


def answer(shape_hw: tuple[int, int] = SHAPE, certainty: float = 40.0) -> Segmentation:
    """A cat in the middle of the left half, a dog in the middle of the right one."""
    logits = np.zeros((12, 16, 3), np.float32)
    logits[..., 0] = certainty / 2
    logits[3:9, 2:7, 1] = certainty
    logits[3:9, 9:14, 2] = certainty
    scores = ScoreMap(logits, TensorSpec("out", (1, 12, 16, 3), np.float32), "logits")
    return Segmentation(scores.labels(shape_hw), CLASSES, scores, EMPTY, {})


def sharp(labels: np.ndarray) -> Segmentation:
    """Scores of the frame's own size, so that the edges are exactly where the labels say."""
    logits = np.where(labels[..., np.newaxis] == np.arange(3), 40, 0).astype(np.float32)
    spec = TensorSpec("out", (1, *logits.shape), np.float32)
    return Segmentation(labels, CLASSES, ScoreMap(logits, spec, "logits"), EMPTY, {})


FRAME = tiny.noise(SHAPE)
ANSWER = answer()
SHARP = sharp(ANSWER.labels)
INSIDE = SHARP.labels > 0


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 500), (500, 1), (7, 5), (480, 640), (10, 4000)])
@pytest.mark.parametrize("background_hw", [(30, 40), (1, 1), (600, 8), (8, 600)])
def test_shape_and_dtype_at_any_size(effect: str, shape_hw: tuple[int, int], background_hw: tuple[int, int]) -> None:
    frame, background = tiny.noise(shape_hw), tiny.noise(background_hw, seed=1)
    picture = render(frame, answer(shape_hw), effect, background)
    assert picture.shape == (*shape_hw, 4 if effect == "cutout" else 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(frame, tiny.noise(shape_hw))
    np.testing.assert_array_equal(background, tiny.noise(background_hw, seed=1))
    assert not np.shares_memory(picture, frame)


def test_the_effects_are_those_of_the_commands() -> None:
    assert list(EFFECTS) == ["overlay", "mask", "cutout", "blur", "replace"]


@pytest.mark.parametrize("effect", ["", "Overlay", "sepia"])
def test_an_unknown_effect_is_refused_with_the_known_ones(effect: str) -> None:
    with pytest.raises(UsageError) as refusal:
        render(FRAME, ANSWER, effect)
    assert repr(effect) in str(refusal.value)
    assert "overlay, mask, cutout, blur, replace" in str(refusal.value)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("layout", tiny.LAYOUTS.values(), ids=tiny.LAYOUTS)
def test_the_memory_layout_does_not_matter(effect: str, layout: Callable[[np.ndarray], np.ndarray]) -> None:
    frame = layout(tiny.noise((90, 120)))
    segmentation = answer(frame.shape[:2])
    expected = render(np.ascontiguousarray(frame), segmentation, effect, BACKGROUND)
    np.testing.assert_array_equal(render(frame, segmentation, effect, BACKGROUND), expected)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("shape_hw", [(48, 64), (96, 127), (128, 96)])
def test_a_frame_of_another_size_is_refused_with_got_and_expected(effect: str, shape_hw: tuple[int, int]) -> None:
    with pytest.raises((TypeError, ValueError, UsageError)) as refusal:
        render(tiny.noise(shape_hw), ANSWER, effect, BACKGROUND)
    for side in (*shape_hw, *SHAPE):
        assert str(side) in str(refusal.value)


@pytest.mark.parametrize(
    "background",
    [
        np.zeros((30, 40), np.uint8),
        np.zeros((30, 40, 4), np.uint8),
        np.zeros((30, 40, 3), np.float32),
        np.zeros((0, 40, 3), np.uint8),
    ],
    ids=lambda value: f"{value.dtype} {value.shape}",
)
def test_a_background_that_is_no_frame_is_refused_with_got_and_expected(
    background: np.ndarray,
) -> None:
    with pytest.raises((TypeError, UsageError)) as refusal:
        render(FRAME, ANSWER, "replace", background)
    assert str(background.shape) in str(refusal.value)


def one_class(labels: np.ndarray) -> Segmentation:
    """`sharp` of a model with one foreground class."""
    logits = np.where(labels[..., np.newaxis] == np.arange(2), 40, 0).astype(np.float32)
    scores = ScoreMap(logits, TensorSpec("out", (1, *logits.shape), np.float32), "logits")
    return Segmentation(labels, CLASSES[:2], scores, EMPTY, {})


@pytest.mark.parametrize("segmentation", [SHARP, one_class((SHARP.labels == 1).astype(np.uint8))], ids=["two", "one"])
def test_overlay_tints_the_classes_and_nothing_else(segmentation: Segmentation) -> None:
    picture = render(FRAME, segmentation)
    np.testing.assert_array_equal(picture, render(FRAME, segmentation, "overlay"))
    outside = segmentation.labels == 0
    np.testing.assert_array_equal(picture[outside], FRAME[outside])
    for label, bgr in enumerate([(0, 100, 200), (240, 60, 0)][: len(segmentation.classes) - 1], 1):
        there = segmentation.labels == label
        assert there.any()
        expected = FRAME[there] / 2 + np.array(bgr) / 2
        np.testing.assert_allclose(picture[there], expected, atol=1.51)  # three roundings


@pytest.mark.parametrize("classes", [2, 3])
def test_an_overlay_is_as_strong_as_the_model_is_sure(classes: int) -> None:
    """Black under a class that is three quarters sure: three quarters of half its colour."""
    logits = np.zeros((12, 16, classes), np.float32)
    logits[..., 1] = np.log(3)
    logits[..., 2:] = -40
    scores = ScoreMap(logits, TensorSpec("out", (1, *logits.shape), np.float32), "logits")
    segmentation = Segmentation(scores.labels(SHAPE), CLASSES[:classes], scores, EMPTY, {})
    picture = render(tiny.grey_frame(SHAPE), segmentation)
    np.testing.assert_allclose(picture, np.broadcast_to([0, 100 * 3 / 8, 200 * 3 / 8], picture.shape), atol=1)


def test_an_overlay_has_soft_edges_without_a_dark_line() -> None:
    """On white, no pixel is darker than the tint and the frame it lies between."""
    picture = render(tiny.grey_frame(SHAPE, 255), ANSWER).astype(int)
    row = picture[48, 8:64]  # across the cat
    assert np.unique(row[:, 0]).size > 6
    assert (row[:, 2] >= (255 + 200) // 2 - 2).all()


def test_mask_is_the_colours_alone() -> None:
    picture = render(FRAME, ANSWER, "mask")
    np.testing.assert_array_equal(picture, colour_map(ANSWER))
    for label, bgr in ((0, (0, 0, 0)), (1, (0, 100, 200)), (2, (240, 60, 0))):
        assert (picture[ANSWER.labels == label] == bgr).all()


def test_cutout_keeps_the_pixels_and_adds_alpha() -> None:
    picture = render(FRAME, ANSWER, "cutout")
    np.testing.assert_array_equal(picture[..., :3], FRAME)
    np.testing.assert_array_equal(picture[..., 3], ANSWER.alpha())
    assert picture[48, 36, 3] == picture[48, 92, 3] == 255
    assert picture[0, 0, 3] == picture[48, 64, 3] == 0
    assert np.unique(picture[..., 3]).size > 5  # soft edges


def test_replace_needs_a_background() -> None:
    with pytest.raises(UsageError, match="--background"):
        render(FRAME, ANSWER, "replace")


def test_replace_changes_what_is_behind_and_not_what_is_in_front() -> None:
    picture = render(FRAME, SHARP, "replace", BACKGROUND)
    np.testing.assert_array_equal(picture[INSIDE], FRAME[INSIDE])
    assert (picture[~INSIDE] == (10, 20, 30)).all()


@pytest.mark.parametrize(
    ("size_hw", "kept"),
    [((20, 40), (slice(None), slice(10, 30))), ((60, 20), (slice(20, 40), slice(None)))],
    ids=["wide", "tall"],
)
def test_a_background_is_cropped_at_its_centre_and_not_squeezed(
    size_hw: tuple[int, int], kept: tuple[slice, slice]
) -> None:
    background = np.full((*size_hw, 3), 255, np.uint8)
    background[kept] = 50
    nothing = sharp(np.zeros((100, 100), np.uint8))
    picture = render(tiny.noise((100, 100)), nothing, "replace", background)
    assert (picture == 50).all()


def test_a_background_is_not_turned_or_mirrored() -> None:
    background = tiny.noise((3, 4), seed=5)
    enlarged = cv2.resize(background, (40, 30), interpolation=cv2.INTER_NEAREST)
    nothing = sharp(np.zeros((30, 40), np.uint8))
    picture = render(tiny.noise((30, 40)), nothing, "replace", enlarged)
    np.testing.assert_array_equal(picture, enlarged)


def test_blur_leaves_the_foreground_and_blurs_the_rest() -> None:
    picture = render(FRAME, SHARP, "blur")
    np.testing.assert_array_equal(picture[INSIDE], FRAME[INSIDE])
    assert picture[~INSIDE].std() < FRAME[~INSIDE].std() / 4
    assert picture[~INSIDE].mean() == pytest.approx(FRAME[~INSIDE].mean(), abs=4)


def test_blur_keeps_the_middle_of_a_soft_foreground() -> None:
    middle = (slice(36, 60), slice(28, 44))
    picture = render(FRAME, ANSWER, "blur")
    np.testing.assert_array_equal(picture[middle], FRAME[middle])


def test_blur_draws_no_halo_around_the_foreground() -> None:
    """A white cat before a black wall: the wall stays black next to it."""
    frame = tiny.grey_frame(SHAPE)
    frame[INSIDE] = 255
    assert render(frame, SHARP, "blur")[~INSIDE].max() <= 8


@pytest.mark.parametrize("value", [0, 1, 128, 255])
@pytest.mark.parametrize("effect", ["blur", "replace"])
def test_one_colour_stays_that_colour(effect: str, value: int) -> None:
    frame = tiny.grey_frame(SHAPE, value)
    picture = render(frame, ANSWER, effect, frame)
    assert np.abs(picture.astype(int) - value).max() <= 1


@pytest.mark.parametrize("everything", [0, 1])
def test_blur_with_nothing_or_everything_in_front(everything: int) -> None:
    picture = render(FRAME, sharp(np.full(SHAPE, everything, np.uint8)), "blur")
    assert np.array_equal(picture, FRAME) == bool(everything)


def test_blend_worked_out_by_hand() -> None:
    below, above = tiny.grey_frame((1, 4), 10), tiny.grey_frame((1, 4), 210)
    alpha = np.array([[0, 51, 204, 255]], np.uint8)
    picture = blend(below, above, alpha)
    assert picture[0, :, 0].tolist() == [10, 50, 170, 210]
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    same = np.dstack([every] * 3)
    np.testing.assert_array_equal(blend(np.zeros_like(same), same, np.full_like(every, 255)), same)
    np.testing.assert_array_equal(blend(same, np.zeros_like(same), np.zeros_like(every)), same)


def test_blend_is_the_mixture_to_one_in_255() -> None:
    below, above = tiny.noise(SHAPE, 3), tiny.noise(SHAPE, 4)
    alpha = np.zeros(SHAPE, np.uint8)
    alpha[20:70, 30:90] = tiny.noise((50, 60), 5)[..., 0]
    weight = alpha[..., np.newaxis] / 255
    np.testing.assert_allclose(blend(below, above, alpha), above * weight + below * (1 - weight), atol=1.01)


def test_a_flattened_cutout_stands_before_green() -> None:
    cutout = render(FRAME, SHARP, "cutout")
    picture = flatten(cutout)
    assert (picture.shape, picture.dtype) == (FRAME.shape, np.uint8)
    np.testing.assert_array_equal(picture[INSIDE], FRAME[INSIDE])
    assert (picture[~INSIDE] == GREEN[::-1]).all()
    assert GREEN == (0, 177, 64)
    half = np.dstack([tiny.grey_frame((2, 2), 100), np.full((2, 2), 51, np.uint8)])
    np.testing.assert_allclose(flatten(half)[0, 0], np.array(GREEN[::-1]) * 0.8 + 20, atol=1.01)


@pytest.mark.parametrize("effect", ["overlay", "mask", "blur", "replace"])
def test_what_holds_no_transparency_is_flat_already(effect: str) -> None:
    picture = render(FRAME, ANSWER, effect, BACKGROUND)
    assert flatten(picture) is picture


@pytest.mark.parametrize("size_hw", [(20, 40), (60, 20), (300, 500), SHAPE])
def test_a_background_covered_once_serves_every_frame(size_hw: tuple[int, int]) -> None:
    background = tiny.noise(size_hw, seed=9)
    covered = cover(background, SHAPE)
    assert covered.shape == (*SHAPE, 3)
    assert cover(covered, SHAPE) is covered
    kept = covered.copy()
    picture = render(FRAME, ANSWER, "replace", covered)
    np.testing.assert_array_equal(picture, render(FRAME, ANSWER, "replace", background))
    np.testing.assert_array_equal(covered, kept)
