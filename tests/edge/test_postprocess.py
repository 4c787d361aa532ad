"""Label maps, probabilities and outlines against the straightforward way: dequantise, upsample as float, decide."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg_edge.interpreter import TensorSpec
from seg_edge.postprocess import ScoreMap, find_polygons

DTYPES = (np.uint8, np.int8, np.float32)
KINDS = ("logits", "probabilities")


def score_map(stored: np.ndarray, kind: str = "logits", scale: float = 0.05, zero: int = 7):
    quantised = stored.dtype != np.float32
    spec = TensorSpec("out", (1, *stored.shape), stored.dtype.type, scale * quantised, zero * quantised)
    return ScoreMap(stored, spec, kind)


def reference_gaps(scores: ScoreMap, shape_hw: tuple[int, int]) -> np.ndarray:
    """Dequantised, upsampled in float64, (height, width, classes): the largest wins."""
    spec = scores.spec
    real = scores.stored.astype(np.float64)
    if spec.scale:
        real = (real - spec.zero_point) * spec.scale
    if real.shape[2] == 1:
        real = real - (0.5 if scores.kind == "probabilities" else 0.0)
        real = np.dstack([np.zeros_like(real), real])
    planes = [cv2.resize(np.ascontiguousarray(real[..., i]), shape_hw[::-1]) for i in range(real.shape[2])]
    return np.dstack([plane.reshape(shape_hw) for plane in planes])


@st.composite
def score_maps(draw: st.DrawFn) -> ScoreMap:
    dtype = draw(st.sampled_from(DTYPES))
    shape = (*draw(st.tuples(st.integers(1, 8), st.integers(1, 8))), draw(st.sampled_from((1, 2, 4))))
    kind = draw(st.sampled_from(KINDS))
    if dtype == np.float32:
        low, high = (0.0, 1.0) if kind == "probabilities" else (-20.0, 20.0)
        numbers = st.floats(low, high, width=32).filter(lambda v: v == 0 or abs(v) > 1e-30)
        return score_map(draw(arrays(dtype, shape, elements=numbers)), kind)
    bounds = np.iinfo(dtype)
    zero = draw(st.integers(int(bounds.min), int(bounds.max)))
    if kind == "probabilities":
        return score_map(draw(arrays(dtype, shape)), kind, 1 / 256, int(bounds.min))
    return score_map(draw(arrays(dtype, shape)), kind, draw(st.floats(1e-3, 1)), zero)


SHAPES = st.one_of(
    st.sampled_from([(1, 1), (1, 4), (4, 1), (1, 40), (40, 1)]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)


@given(score_maps(), SHAPES)
def test_labels_equal_those_of_the_straightforward_way(scores: ScoreMap, shape_hw: tuple[int, int]) -> None:
    """Another class is allowed only where two are as close as rounding."""
    labels = scores.labels(shape_hw)
    assert labels.shape == shape_hw
    assert labels.dtype == np.uint8
    reference = reference_gaps(scores, shape_hw)
    chosen = np.take_along_axis(reference, labels[..., np.newaxis].astype(int), axis=2)[..., 0]
    rounding = 1.5 * scores.spec.scale or 1e-4
    assert (reference.max(axis=2) - chosen <= rounding).all()


@pytest.mark.parametrize("channels", [1, 2, 4, 21])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nearly_every_pixel_agrees_on_smooth_scores(channels: int, dtype: type[np.generic]) -> None:
    noise = np.random.default_rng(channels).integers(0, 256, (6, 6, channels)).astype(np.float32)
    smooth = cv2.resize(noise, (32, 32), interpolation=cv2.INTER_CUBIC).reshape(32, 32, channels)
    smooth = np.clip(np.round(smooth), 0, 255) - (128 if dtype == np.int8 else 0)
    scores = score_map(smooth.astype(dtype), zero=0 if dtype == np.int8 else 128)
    reference = reference_gaps(scores, (240, 320)).argmax(axis=2)
    agreement = np.mean(scores.labels((240, 320)) == reference)
    assert agreement >= (0.98 if channels > 4 else 0.99)  # more classes, more edges to round at


@given(score_maps())
def test_labels_at_the_models_own_size_are_exact(scores: ScoreMap) -> None:
    shape_hw = scores.stored.shape[:2]
    expected = scores.stored.astype(np.float64)
    if expected.shape[2] == 1:
        threshold = 0.5 if scores.kind == "probabilities" else 0.0
        if scores.spec.scale:
            threshold = threshold / scores.spec.scale + scores.spec.zero_point
        np.testing.assert_array_equal(scores.labels(shape_hw), expected[..., 0] > threshold)
    else:
        np.testing.assert_array_equal(scores.labels(shape_hw), expected.argmax(axis=2))


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape_hw", [(4, 4), (32, 48), (3, 1)])
def test_the_lower_class_wins_a_tie(channels: int, dtype: type[np.generic], shape_hw: tuple[int, int]) -> None:
    assert not score_map(np.full((4, 4, channels), 9, dtype)).labels(shape_hw).any()


@pytest.mark.parametrize(
    ("kind", "scale", "zero", "stored", "foreground"),
    [
        ("logits", 0.1, 100, [99, 100, 101], [0, 0, 1]),
        ("probabilities", 1 / 256, 0, [127, 128, 129], [0, 0, 1]),
        ("probabilities", 1 / 255, 0, [127, 128, 129], [0, 1, 1]),
        ("logits", 0.1, 255, [253, 254, 255], [0, 0, 0]),
        ("logits", 0.1, 0, [0, 1, 2], [0, 1, 1]),
        ("probabilities", 1 / 1000, 0, [0, 254, 255], [0, 0, 0]),
        ("probabilities", 1 / 100, -200, [0, 1, 255], [1, 1, 1]),
    ],
)
def test_where_the_threshold_of_one_channel_lies(
    kind: str, scale: float, zero: int, stored: list[int], foreground: list[int]
) -> None:
    scores = score_map(np.array(stored, np.uint8).reshape(1, 3, 1), kind, scale, zero)
    assert scores.labels((1, 3)).tolist() == [foreground]
    likely = scores.probabilities((1, 3))[0, :, 1] > 0.5 + 1e-6
    assert likely.astype(int).tolist() == foreground


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (1, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_frame_of_one_pixel_gets_a_result(size: tuple[int, int], dtype: type[np.generic], channels: int) -> None:
    stored = np.zeros((4, 4, channels), dtype)
    stored[..., -1] = 100
    labels = score_map(stored, zero=0).labels(size)
    assert labels.shape == size
    assert (labels == max(channels - 1, 1)).all()


SIDE, FACTOR = 32, 8
CELLS = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1) * FACTOR + (FACTOR - 1) / 2
PIXELS = np.stack(np.meshgrid(*[np.arange(SIDE * FACTOR)] * 2), axis=-1).astype(float)


def distance(points_xy: np.ndarray, degrees: float) -> np.ndarray:
    """Signed, in pixels, to a line through a point near the middle: positive is foreground."""
    normal = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    return (points_xy - [130.3, 124.9]) @ normal


def half_plane(degrees: float, channels: int, dtype: type[np.generic]) -> ScoreMap:
    """The scores of a model that is less and less sure within three cells of the line."""
    logit = np.clip(distance(CELLS, degrees) / FACTOR, -3, 3)
    planes = [logit] if channels == 1 else [-logit, logit, *[np.full_like(logit, -5)] * (channels - 2)]
    real = np.dstack(planes)
    if dtype == np.float32:
        return score_map(real.astype(np.float32))
    zero = 128 if dtype == np.uint8 else 0
    bounds = np.iinfo(dtype)
    stored = np.clip(np.round(real / 0.025) + zero, bounds.min, bounds.max)
    return score_map(stored.astype(dtype), scale=0.025, zero=zero)


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 135, 200, 315])
@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_edge_upsampled_eightfold_is_a_line_and_not_a_staircase(
    degrees: float, channels: int, dtype: type[np.generic]
) -> None:
    scores = half_plane(degrees, channels, dtype)
    shape_hw = (SIDE * FACTOR,) * 2
    truth = distance(PIXELS, degrees)
    inside = (slice(FACTOR, -FACTOR),) * 2  # at the border there is no neighbour to interpolate to
    certain = np.abs(truth[inside]) > 1.5
    np.testing.assert_array_equal(scores.labels(shape_hw)[inside][certain] > 0, truth[inside][certain] > 0)


@given(score_maps(), SHAPES)
def test_probabilities_are_between_0_and_1_and_sum_to_1(scores: ScoreMap, shape_hw: tuple[int, int]) -> None:
    result = scores.probabilities(shape_hw)
    channels = scores.stored.shape[2]
    assert result.shape == (*shape_hw, max(channels, 2))
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    # Several probabilities are the model's own and are not made to sum to anything.
    if scores.kind == "logits" or channels == 1:
        np.testing.assert_allclose(result.sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0], [0.5, 0.5]),
        ([0.0, np.log(3)], [0.25, 0.75]),
        ([1.0, 1.0 + np.log(2), 1.0], [0.25, 0.5, 0.25]),
        ([np.log(4)], [0.2, 0.8]),
        ([1000.0, 0.0], [1.0, 0.0]),
        ([-1000.0], [1.0, 0.0]),
        ([1000.0], [0.0, 1.0]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_probabilities_worked_out_by_hand(logits: list[float], expected: list[float]) -> None:
    scores = score_map(np.full((2, 3, len(logits)), logits, np.float32))
    for shape_hw in ((2, 3), (5, 9)):
        result = scores.probabilities(shape_hw)
        np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_are_the_softmax(channels: int, dtype: type[np.generic]) -> None:
    stored = np.random.default_rng(channels).integers(0, 120, (6, 7, channels)).astype(dtype)
    scores = score_map(stored)
    real = scores.spec.dequantise(stored).astype(np.float64)
    if channels == 1:
        real = np.dstack([np.zeros_like(real), real])
    share = np.exp(real - real.max(axis=2, keepdims=True))
    expected = share / share.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(scores.probabilities((6, 7)), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [5, 128, 129, 256])
def test_the_largest_number_of_classes_works(channels: int) -> None:
    stored = np.zeros((4, 4, channels), np.uint8)
    stored[..., channels - 1] = 200
    scores = score_map(stored, zero=0)
    assert (scores.labels((8, 9)) == channels - 1).all()
    probabilities = scores.probabilities((8, 9))
    assert probabilities.shape == (8, 9, channels)
    assert (probabilities.argmax(axis=2) == channels - 1).all()


def test_neither_result_changes_the_scores() -> None:
    stored = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    scores = score_map(stored.copy())
    for shape_hw in ((4, 4), (8, 8)):
        scores.labels(shape_hw)
        scores.probabilities(shape_hw)
        np.testing.assert_array_equal(scores.stored, stored)


def canvas(*rectangles: tuple[int, int, int, int, int], shape: tuple[int, int] = (60, 80)):
    """A label map with rectangles (left, top, right, bottom, label), right and bottom left out."""
    labels = np.zeros(shape, np.uint8)
    for left, top, right, bottom, label in rectangles:
        labels[top:bottom, left:right] = label
    return labels


NAMES = ("background", "cat", "dog")


def test_a_rectangle_has_four_corners() -> None:
    (polygon,) = find_polygons(canvas((20, 10, 60, 30, 1)), NAMES, 1)
    assert polygon.label == "cat"
    assert polygon.area == 800
    assert polygon.points_xy.dtype == np.int32
    corners = {(20, 10), (59, 10), (59, 29), (20, 29)}
    assert {tuple(point) for point in polygon.points_xy.tolist()} == corners
    assert len(polygon.points_xy) == 4


@pytest.mark.parametrize("rectangle", [(0, 0, 80, 60, 2), (0, 0, 5, 5, 2), (70, 50, 80, 60, 2)])
def test_a_filled_outline_is_the_region(rectangle: tuple[int, int, int, int, int]) -> None:
    labels = canvas(rectangle)
    (polygon,) = find_polygons(labels, NAMES, 1)
    drawn = cv2.fillPoly(np.zeros_like(labels), [polygon.points_xy], 2)
    np.testing.assert_array_equal(drawn, labels)


def test_by_class_and_then_the_largest_first() -> None:
    labels = canvas((0, 0, 40, 20, 2), (0, 30, 5, 40, 1), (20, 30, 40, 50, 1), (60, 0, 70, 10, 1))
    found = [(polygon.label, polygon.area) for polygon in find_polygons(labels, NAMES, 1)]
    assert found == [("cat", 400), ("cat", 100), ("cat", 50), ("dog", 800)]


@pytest.mark.parametrize(("min_area", "areas"), [(16, [100, 16]), (17, [100]), (101, [])])
def test_specks_are_dropped(min_area: int, areas: list[int]) -> None:
    labels = canvas((0, 0, 10, 10, 1), (30, 30, 34, 34, 1))
    assert [polygon.area for polygon in find_polygons(labels, NAMES, min_area)] == areas


def test_a_hole_counts_in_the_area_and_not_in_the_outline() -> None:
    labels = canvas((10, 10, 50, 50, 1), (20, 20, 30, 30, 0))
    (polygon,) = find_polygons(labels, NAMES, 1)
    assert polygon.area == 1600 - 100
    assert len(polygon.points_xy) == 4


def test_a_region_in_the_hole_of_another_is_its_own() -> None:
    labels = canvas((10, 10, 50, 50, 1), (20, 20, 40, 40, 0), (25, 25, 35, 35, 1))
    assert [polygon.area for polygon in find_polygons(labels, NAMES, 1)] == [1200, 100]


def test_regions_that_touch_at_a_corner_are_one() -> None:
    labels = canvas((10, 10, 20, 20, 1), (20, 20, 30, 30, 1))
    assert [polygon.area for polygon in find_polygons(labels, NAMES, 1)] == [200]


@pytest.mark.parametrize("region", [(5, 5, 6, 6, 1), (5, 5, 40, 6, 1), (5, 5, 6, 40, 1)])
def test_regions_without_an_inside_have_no_polygon(region: tuple[int, int, int, int, int]) -> None:
    assert find_polygons(canvas(region), NAMES, 0) == []


def test_an_empty_map_has_no_polygons() -> None:
    assert find_polygons(canvas(), NAMES, 0) == []


@pytest.mark.parametrize("tolerance", [0.0, 0.5, 1.0, 3.0, 8.0])
def test_an_outline_strays_no_further_than_the_tolerance(tolerance: float) -> None:
    labels = cv2.circle(canvas(shape=(120, 120)), (60, 60), 50, 1, -1)
    (polygon,) = find_polygons(labels, NAMES, 1, tolerance)
    (exact,) = find_polygons(labels, NAMES, 1, 0.0)
    strays = [abs(cv2.pointPolygonTest(polygon.points_xy, [float(x), float(y)], True)) for x, y in exact.points_xy]
    assert max(strays) <= tolerance + 1e-3
    if tolerance:
        assert len(polygon.points_xy) < len(exact.points_xy)
