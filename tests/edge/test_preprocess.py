"""A frame whose pixels are known becomes a tensor whose numbers are known."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge.interpreter import TensorSpec
from seg_edge.photo.read import read_photo
from seg_edge.preprocess import Preprocessor, check_frame, resize_to_input
from tests import tiny

UINT8 = TensorSpec("u", (1, 4, 6, 3), np.uint8, 1 / 255, 0)
INT8 = TensorSpec("i", (1, 4, 6, 3), np.int8, 1 / 255, -128)
FLOAT32 = TensorSpec("f", (1, 4, 6, 3), np.float32)
FRAME = tiny.noise((4, 6))
RGB = FRAME[..., ::-1]


def test_uint8_gets_the_pixels_themselves() -> None:
    tensor = Preprocessor(UINT8, 1 / 255, 0.0)(FRAME)
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor, RGB[np.newaxis])


def test_int8_gets_the_pixels_minus_128() -> None:
    tensor = Preprocessor(INT8, 1 / 255, 0.0)(FRAME)
    assert tensor.dtype == np.int8
    np.testing.assert_array_equal(tensor.astype(int), RGB[np.newaxis].astype(int) - 128)


def test_float32_gets_0_to_1() -> None:
    tensor = Preprocessor(FLOAT32, 1 / 255, 0.0)(FRAME)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor, RGB[np.newaxis] / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "scale", "offset", "expected"),
    [
        (FLOAT32, 2 / 255, -1.0, [-1.0, 1.0]),
        (FLOAT32, 1.0, 0.0, [0.0, 255.0]),
        (TensorSpec("u", (1, 4, 6, 3), np.uint8, 2 / 255, 128), 2 / 255, -1.0, [0, 255]),
        (TensorSpec("u", (1, 4, 6, 3), np.uint8, 1.0, 0), 1 / 255, 0.0, [0, 1]),
        (TensorSpec("i", (1, 4, 6, 3), np.int8, 1 / 127, 0), 2 / 255, -1.0, [-127, 127]),
    ],
)
def test_other_normalisations_and_tensors(spec: TensorSpec, scale: float, offset: float, expected: list[float]) -> None:
    prepare = Preprocessor(spec, scale, offset)
    for pixel, value in zip((0, 255), expected, strict=True):
        tensor = prepare(tiny.grey_frame((4, 6), pixel))
        np.testing.assert_allclose(tensor.astype(float), value, atol=1e-6)


def test_blue_in_front_comes_out_last() -> None:
    frame = tiny.grey_frame((10, 10))
    frame[..., 0] = 200
    tensor = Preprocessor(UINT8, 1 / 255, 0.0)(frame)
    assert tensor[0, 0, 0].tolist() == [0, 0, 200]


def test_width_and_height_are_not_mixed_up() -> None:
    prepare = Preprocessor(UINT8, 1 / 255, 0.0)
    assert prepare.size_wh == (6, 4)
    frame = tiny.grey_frame((40, 60))
    frame[:10, 50:] = 255  # the top right cell
    tensor = prepare(frame)
    assert tensor.shape == (1, 4, 6, 3)
    assert np.argwhere(tensor[0, ..., 0] > 127).tolist() == [[0, 5]]
    assert tensor[0, 0, 5, 0] > 200


def test_each_pixel_is_the_mean_of_the_area_it_covers() -> None:
    frame = tiny.noise((10, 14), seed=1)
    means = frame[..., ::-1].reshape(5, 2, 7, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_to_input(frame, (7, 5)), means, atol=0.51)


@pytest.mark.parametrize("size_wh", [(256, 256), (192, 128), (100, 90)])
def test_a_photo_is_averaged_as_by_area(size_wh: tuple[int, int]) -> None:
    photo = read_photo(tiny.GRACE_HOPPER)
    areas = cv2.resize(photo, size_wh, interpolation=cv2.INTER_AREA)[..., ::-1]
    assert np.abs(resize_to_input(photo, size_wh).astype(float) - areas).mean() < 1.5


def test_halving_first_gives_the_same_mean() -> None:
    frame = tiny.noise((512, 768))
    means = frame[..., ::-1].reshape(64, 8, 96, 8, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_to_input(frame, (96, 64)), means, atol=1.6)  # each of three halvings rounds


@pytest.mark.parametrize("shape_hw", [(720, 1280), (960, 1280), (864, 1536), (1280, 720), (1520, 2028)])
def test_camera_sizes_of_other_proportions_are_averaged_as_by_area(shape_hw: tuple[int, int]) -> None:
    photo = cv2.resize(read_photo(tiny.GRACE_HOPPER), shape_hw[::-1])
    areas = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)[..., ::-1]
    assert np.abs(resize_to_input(photo, (256, 256)).astype(float) - areas).mean() < 1
    stripes = np.zeros((*shape_hw, 3), np.uint8)
    stripes[::2] = 255  # sampled, they would be black, white or moiré
    stripes[:, ::2] = 255 - stripes[:, ::2]
    assert np.abs(resize_to_input(stripes, (256, 256)) - 127.5).max() < 40


@pytest.mark.parametrize("side", [64, 128, 320])
def test_a_checkerboard_turns_grey(side: int) -> None:
    """Sampling, or bilinear without area averaging, gives black, white or moiré."""
    board = (np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8)
    resized = resize_to_input(np.dstack([board] * 3), (32, 32))
    assert np.abs(resized.astype(float) - 127.5).max() <= 1


def test_thin_stripes_at_an_odd_ratio_keep_their_mean() -> None:
    stripes = np.zeros((100, 331, 3), np.uint8)
    stripes[:, ::2] = 255
    resized = resize_to_input(stripes, (32, 32)).astype(float)
    assert abs(resized.mean() - 127.5) < 3
    assert resized.std() < 20


def test_growing_is_smooth() -> None:
    frame = np.repeat(np.array([[0, 255]], np.uint8)[..., np.newaxis], 3, axis=2)
    row = resize_to_input(frame, (32, 1))[0, :, 0].astype(int)
    assert row[0] == 0
    assert row[-1] == 255
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() <= 17


@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 7), (7, 1), (1, 5000), (5000, 1), (3, 2), (33, 31), (481, 641)])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_one_colour_stays_that_colour_at_any_size(shape_hw: tuple[int, int], value: int) -> None:
    resized = resize_to_input(tiny.grey_frame(shape_hw, value), (6, 4))
    assert resized.shape == (4, 6, 3)
    assert (resized == value).all()


@pytest.mark.parametrize("layout", tiny.LAYOUTS.values(), ids=tiny.LAYOUTS)
@pytest.mark.parametrize("shape_hw", [(90, 120), (96, 96)])
def test_the_memory_layout_does_not_matter(
    layout: Callable[[np.ndarray], np.ndarray], shape_hw: tuple[int, int]
) -> None:
    frame = layout(tiny.noise(shape_hw))
    before = frame.copy()
    result = resize_to_input(frame, (32, 32))
    np.testing.assert_array_equal(result, resize_to_input(np.ascontiguousarray(frame), (32, 32)))
    np.testing.assert_array_equal(frame, before)


def test_a_frame_of_the_right_size_is_copied() -> None:
    frame = FRAME.copy()
    tensor = Preprocessor(UINT8, 1 / 255, 0.0)(frame)
    tensor[:] = 0
    np.testing.assert_array_equal(frame, FRAME)


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (np.zeros((4, 6), np.uint8), "uint8 of shape (4, 6)"),
        (np.zeros((4, 6, 4), np.uint8), "uint8 of shape (4, 6, 4)"),
        (np.zeros((4, 6, 1), np.uint8), "uint8 of shape (4, 6, 1)"),
        (np.zeros((1, 4, 6, 3), np.uint8), "uint8 of shape (1, 4, 6, 3)"),
        (np.zeros((0, 6, 3), np.uint8), "uint8 of shape (0, 6, 3)"),
        (np.zeros((4, 6, 3), np.float32), "float32 of shape (4, 6, 3)"),
        (np.zeros((4, 6, 3), np.uint16), "uint16 of shape (4, 6, 3)"),
        (np.zeros((4, 6, 3), np.int8), "int8 of shape (4, 6, 3)"),
        (None, "got NoneType"),
        ([[[0, 0, 0]]], "got list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_frames_are_refused(frame: Any, got: str) -> None:
    for action in (check_frame, lambda f: resize_to_input(f, (6, 4))):
        with pytest.raises(TypeError, match="a frame must be ") as refusal:
            action(frame)
        assert got in str(refusal.value)
