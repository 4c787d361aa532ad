"""Scores that can be computed by hand; scikit-learn is the reference for the rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg_edge.evaluation.metrics import IGNORE, boundary_f, confusion_matrix, dice, iou, mean_foreground

TRUTH = np.array([[0, 0, 1, 1], [0, 1, 1, 2], [IGNORE, 1, 2, 2]], np.uint8)
FOUND = np.array([[0, 1, 1, 1], [0, 0, 1, 2], [2, 1, 1, 2]], np.uint8)

MAPS = st.integers(1, 12).flatmap(
    lambda side: st.tuples(
        arrays(np.uint8, (side, 5), elements=st.sampled_from([0, 1, 2, IGNORE])),
        arrays(np.uint8, (side, 5), elements=st.integers(0, 2)),
    )
)


def square(left: int, top: int, side: int = 40, shape: tuple[int, int] = (100, 100)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[top : top + side, left : left + side] = 1
    return labels


def test_confusion_by_hand() -> None:
    matrix = confusion_matrix(TRUTH, FOUND, 3)
    assert matrix.tolist() == [[2, 1, 0], [1, 4, 0], [0, 1, 2]]
    assert matrix.dtype == np.int64


def test_dice_and_iou_by_hand() -> None:
    matrix = confusion_matrix(TRUTH, FOUND, 3)
    np.testing.assert_allclose(dice(matrix), [4 / 6, 8 / 11, 4 / 5])
    np.testing.assert_allclose(iou(matrix), [2 / 4, 4 / 7, 2 / 3])
    assert mean_foreground(dice(matrix)) == pytest.approx((8 / 11 + 4 / 5) / 2)


@pytest.mark.parametrize("score", [dice, iou])
def test_perfect_is_one(score) -> None:
    np.testing.assert_array_equal(score(confusion_matrix(FOUND, FOUND, 3)), [1, 1, 1])


@pytest.mark.parametrize("score", [dice, iou])
def test_a_class_in_neither_is_nan_and_one_in_only_one_is_zero(score) -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    found = np.array([[0, 0, 2, 2]], np.uint8)
    np.testing.assert_array_equal(score(confusion_matrix(truth, found, 4)), [1, 0, 0, np.nan])


def test_the_mean_leaves_out_the_background_and_the_absent() -> None:
    assert mean_foreground(np.array([0.1, 0.6, np.nan, 0.8])) == pytest.approx(0.7)
    assert mean_foreground(np.array([1.0, 0.0, 0.5])) == pytest.approx(0.25)
    assert np.isnan(mean_foreground(np.array([1.0, np.nan, np.nan])))
    assert np.isnan(mean_foreground(np.array([1.0])))


@given(MAPS, st.integers(0, 2))
def test_predictions_on_ignored_pixels_do_not_count(maps: tuple[np.ndarray, np.ndarray], instead: int) -> None:
    truth, found = maps
    other = np.where(truth == IGNORE, instead, found).astype(np.uint8)
    np.testing.assert_array_equal(confusion_matrix(truth, found, 3), confusion_matrix(truth, other, 3))
    np.testing.assert_array_equal(boundary_f(truth, found, 3), boundary_f(truth, other, 3))
    assert confusion_matrix(truth, found, 3).sum() == np.sum(truth != IGNORE)


def test_all_ignored_scores_nothing() -> None:
    nothing = np.full((3, 3), IGNORE, np.uint8)
    matrix = confusion_matrix(nothing, np.zeros((3, 3), np.uint8), 2)
    assert matrix.tolist() == [[0, 0], [0, 0]]
    assert np.isnan(dice(matrix)).all()


@given(MAPS, MAPS)
def test_matrices_add_up_over_photos(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> None:
    both = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    summed = confusion_matrix(*first, 3) + confusion_matrix(*second, 3)
    np.testing.assert_array_equal(confusion_matrix(both[0], both[1], 3), summed)


@given(MAPS)
def test_dice_follows_from_iou(maps: tuple[np.ndarray, np.ndarray]) -> None:
    matrix = confusion_matrix(*maps, 3)
    overlap = iou(matrix)
    np.testing.assert_allclose(dice(matrix), 2 * overlap / (1 + overlap))


@settings(max_examples=25)
@given(MAPS)
def test_scikit_learn_agrees(maps: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, found = (labels[maps[0] != IGNORE] for labels in maps)
    if not truth.size:
        return
    options = {"labels": [0, 1, 2], "average": None, "zero_division": np.nan}
    matrix = confusion_matrix(*maps, 3)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(truth, found, labels=[0, 1, 2]))
    np.testing.assert_allclose(dice(matrix), metrics.f1_score(truth, found, **options))
    present = ~np.isnan(iou(matrix))
    options["zero_division"] = 0
    np.testing.assert_allclose(iou(matrix)[present], metrics.jaccard_score(truth, found, **options)[present])


@pytest.mark.parametrize("score", [confusion_matrix, boundary_f])
def test_maps_of_two_sizes_are_refused(score) -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4, 3\)"):
        score(TRUTH, np.zeros((4, 3), np.uint8), 3)


@pytest.mark.parametrize(("truth", "found"), [([[0, 1]], [[2, 1]]), ([[2, 1]], [[0, 1]]), ([[0, 1]], [[0, 255]])])
def test_a_label_that_is_not_a_class_is_refused(truth: list, found: list) -> None:
    """Counted unchecked, a prediction of 2 with 2 classes would land in another class's row."""
    with pytest.raises(ValueError, match="class"):
        confusion_matrix(np.array(truth, np.uint8), np.array(found, np.uint8), 2)


def test_boundary_of_equal_maps_is_one() -> None:
    np.testing.assert_array_equal(boundary_f(TRUTH, np.where(TRUTH == 255, 0, TRUTH), 3)[1:], [1, 1])
    np.testing.assert_array_equal(boundary_f(square(20, 20), square(20, 20), 2), [np.nan, 1])


@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (-1, 0)])
def test_boundary_shifted_within_the_tolerance_is_one(shift: tuple[int, int]) -> None:
    """0.75 % of the diagonal of 100 x 100 is 1.06 pixels."""
    moved = square(20 + shift[0], 20 + shift[1])
    assert boundary_f(square(20, 20), moved, 2)[1] == 1


@pytest.mark.parametrize(("shift", "side"), [(2, 40), (5, 40), (10, 30)])
def test_boundary_shifted_beyond_the_tolerance_by_hand(shift: int, side: int) -> None:
    """Of 4 * side - 4 edge pixels, top and bottom match where the squares overlap, and one pixel past the corner.

    The overlap is `side - shift` long; an edge pixel one further along is 1 px from the other's corner, within 1.06.
    The vertical edges match nothing but where they meet the other's top and bottom, and one pixel below or above that:
    the corners are already counted, so two more pixels.
    """
    found = boundary_f(square(20, 20, side), square(20 + shift, 20, side), 2)[1]
    matching = 2 * (side - shift + 1) + 2
    assert found == pytest.approx(matching / (4 * side - 4))


def test_the_tolerance_grows_with_the_picture() -> None:
    small = boundary_f(square(20, 20), square(23, 20), 2)[1]
    large = boundary_f(square(20, 20, shape=(400, 300)), square(23, 20, shape=(400, 300)), 2)[1]
    assert small < 1  # 3 px of a reach of 1.06
    assert large == 1  # of 3.75


def test_boundary_far_away_absent_and_missed() -> None:
    assert boundary_f(square(0, 0, 10), square(60, 60, 10), 2)[1] == 0
    empty = np.zeros((100, 100), np.uint8)
    assert np.isnan(boundary_f(empty, empty, 2)).all()
    assert boundary_f(empty, square(20, 20), 2)[1] == 0
    assert boundary_f(square(20, 20), empty, 2)[1] == 0


def test_neither_the_frames_border_nor_ignored_pixels_make_a_boundary() -> None:
    truth = square(0, 0, 40)
    thicker = truth.copy()
    truth[40:44, :44] = IGNORE
    truth[:44, 40:44] = IGNORE
    assert np.isnan(boundary_f(truth, thicker, 2)[1])
    whole = np.ones((30, 30), np.uint8)
    assert np.isnan(boundary_f(whole, whole, 2)[1])


@given(MAPS)
def test_boundary_is_a_share_and_symmetric(maps: tuple[np.ndarray, np.ndarray]) -> None:
    truth, found = maps
    scores = boundary_f(truth, found, 3)
    assert np.isnan(scores[0])
    known = scores[~np.isnan(scores)]
    assert ((known >= 0) & (known <= 1)).all()
    if not (truth == IGNORE).any():
        np.testing.assert_allclose(scores, boundary_f(found, truth, 3))
