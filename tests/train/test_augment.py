"""Photo and mask are augmented together, reproducibly, and within their settings."""

import dataclasses
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")

from train.augment import Augmentation, augment  # noqa: E402

NOTHING = Augmentation(**{field.name: 0.0 for field in dataclasses.fields(Augmentation)})
# Far larger than in any recipe, so that a mistake shows.
LARGE = {
    "zoom_in": 0.5,
    "zoom_out": 0.4,
    "stretch": 0.4,
    "shift_x": 0.2,
    "shift_y": 0.2,
    "mirror": 0.5,
    "rotate_degrees": 25.0,
    "hue": 0.5,
    "saturation": 0.5,
    "brightness": 0.2,
    "contrast": 0.3,
    "grey": 0.5,
    "noise": 0.06,
}
COLOURS = ("hue", "saturation", "brightness", "contrast", "grey", "noise")
SIZE_WH = (96, 64)
LABEL = 7


def scene(size_wh: tuple[int, int] = SIZE_WH) -> tuple[np.ndarray, np.ndarray]:
    """A bright square, a third of the height wide and left of the middle, on a dark photo."""
    width, height = size_wh
    image = np.full((height, width, 3), 30, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    side = height // 3
    inside = np.s_[height // 3 : height // 3 + side, width // 4 : width // 4 + side]
    image[inside], mask[inside] = (225, 215, 205), LABEL
    mask[0, 0], mask[-1, -1] = 255, 255
    return image, mask


@tf.function(reduce_retracing=True)
def _draw(image: Any, mask: Any, seed: Any, settings: Augmentation, size_wh: Any) -> Any:
    return augment(image, mask, seed, settings, size_wh)


def draw(
    settings: Augmentation,
    seed: int = 0,
    size_wh: tuple[int, int] = SIZE_WH,
    photo: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    image, mask = photo or scene(size_wh)
    image, mask = _draw(tf.constant(image), tf.constant(mask), tf.constant([seed, 5], tf.int64), settings, size_wh)
    return image.numpy(), mask.numpy()


def overlap(image: np.ndarray, mask: np.ndarray) -> float:
    """IoU of the mask's squares and the photo's bright ones."""
    bright, labelled = image.mean(axis=2) > 0.5, mask == LABEL
    return float((bright & labelled).sum() / (bright | labelled).sum())


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom, the last two exclusive."""
    rows, columns = np.nonzero(mask == LABEL)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("name", [*LARGE, "all"])
def test_photo_and_mask_move_together(name: str) -> None:
    values = LARGE if name == "all" else {name: LARGE[name]}
    settings = dataclasses.replace(NOTHING, **values)
    for seed in range(20):
        image, mask = draw(settings, seed)
        assert image.shape == (SIZE_WH[1], SIZE_WH[0], 3)
        assert (image.dtype, mask.dtype) == (np.float32, np.uint8)
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(np.unique(mask)) <= {0, LABEL, 255}
        assert overlap(image, mask) > 0.9, seed


def test_the_same_seed_gives_the_same_example() -> None:
    settings = dataclasses.replace(NOTHING, **LARGE)
    first, repeated, different = (draw(settings, seed) for seed in (3, 3, 4))
    for a, b, c in zip(first, repeated, different, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_zero_settings_change_nothing() -> None:
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (64, 96, 3), np.uint8), random.integers(0, 9, (64, 96), "u1")
    image, mask = draw(NOTHING, photo=photo)
    np.testing.assert_array_equal(mask, photo[1])
    assert np.abs(image * 255.0 - photo[0]).max() < 1.001


def test_mirror_is_a_flip() -> None:
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (64, 96, 3), np.uint8), random.integers(0, 9, (64, 96), "u1")
    image, mask = draw(dataclasses.replace(NOTHING, mirror=1.0), photo=photo)
    np.testing.assert_array_equal(mask, photo[1][:, ::-1])
    assert np.abs(image * 255.0 - photo[0][:, ::-1]).max() < 1.001


def test_mirror_at_a_half_flips_about_half() -> None:
    settings = dataclasses.replace(NOTHING, mirror=0.5)
    plain = box(scene()[1])
    flipped = [box(draw(settings, seed)[1]) != plain for seed in range(40)]
    assert 10 <= sum(flipped) <= 30


@pytest.mark.parametrize(("name", "axis"), [("shift_x", 0), ("shift_y", 1)])
def test_a_shift_moves_along_its_axis_and_within_its_share(name: str, axis: int) -> None:
    settings = dataclasses.replace(NOTHING, **{name: 0.2})
    before = np.array(box(scene()[1]))
    moves = np.array([np.array(box(draw(settings, seed)[1])) - before for seed in range(30)])
    assert (moves[:, 1 - axis] == 0).all()
    assert (moves[:, 3 - axis] == 0).all()
    along = moves[:, axis]
    np.testing.assert_array_equal(along, moves[:, axis + 2])
    assert np.abs(along).max() <= round(0.2 * SIZE_WH[axis])
    assert along.min() < 0 < along.max()


@pytest.mark.parametrize("name", COLOURS)
def test_colour_changes_keep_the_geometry(name: str) -> None:
    settings = dataclasses.replace(NOTHING, **{name: LARGE[name]})
    before, expected = scene()
    changed = 0
    for seed in range(8):
        image, mask = draw(settings, seed)
        np.testing.assert_array_equal(mask, expected)
        changed += np.abs(image * 255 - before).max() > 2
    assert changed >= 2


def test_hue_changes_only_the_hue() -> None:
    photo = np.full((64, 96, 3), (200, 60, 60), np.uint8), scene()[1]
    image, _ = draw(dataclasses.replace(NOTHING, hue=0.3), seed=1, photo=photo)
    assert image.max() == pytest.approx(200 / 255, abs=0.01)
    assert image.min() == pytest.approx(60 / 255, abs=0.01)
    assert np.abs(image[0, 0] * 255 - (200, 60, 60)).max() > 10


def test_zoom_enlarges_and_shrinks_within_its_range() -> None:
    settings = dataclasses.replace(NOTHING, zoom_in=0.5, zoom_out=0.5)
    widths = []
    for seed in range(30):
        left, _, right, _ = box(draw(settings, seed)[1])
        widths.append((right - left) / (SIZE_WH[1] // 3))
    assert 1 / 1.5 - 0.1 <= min(widths) < 0.9
    assert 1.1 < max(widths) <= 1.5 + 0.1


@pytest.mark.parametrize("size_wh", [(96, 64), (64, 64), (64, 96)])
def test_a_rotated_square_stays_a_square(size_wh: tuple[int, int]) -> None:
    settings = dataclasses.replace(NOTHING, rotate_degrees=30.0)
    largest = 0.0
    for seed in range(10):
        _, mask = draw(settings, seed, size_wh)
        rows, columns = np.nonzero(mask == LABEL)
        spread = np.cov(np.stack([columns, rows]).astype(float))
        area = (size_wh[1] // 3) ** 2
        # A square's second moments are a circle's, area / 12 at any rotation.
        np.testing.assert_allclose(spread, np.eye(2) * area / 12, atol=0.06 * area / 12)
        assert len(rows) == pytest.approx(area, rel=0.05)
        left, _, right, _ = box(mask)
        largest = max(largest, (right - left) / (size_wh[1] // 3))
    assert largest > 1.2  # it was rotated at all


def test_a_larger_cached_photo_gives_the_same_scene() -> None:
    image, mask = draw(NOTHING, photo=scene((144, 96)))
    expected_image, expected_mask = scene()
    assert image.shape == expected_image.shape
    assert overlap(image, mask) > 0.9
    assert np.mean((mask == LABEL) != (expected_mask == LABEL)) < 0.02
    settings = dataclasses.replace(NOTHING, **LARGE)
    for seed in range(20):
        assert overlap(*draw(settings, seed, photo=scene((144, 96)))) > 0.9
