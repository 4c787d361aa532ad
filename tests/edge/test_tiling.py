"""Tiles: long photos and small people are found, close-ups are left alone, at the documented cost."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from seg_edge import Segmentation, Segmenter
from seg_edge.card import ModelCard, make_classes
from seg_edge.errors import UsageError
from seg_edge.interpreter import TensorSpec
from seg_edge.photo.read import read_photo
from seg_edge.tiling import segment_tiled
from tests import tiny


class Brightness:
    """A model that calls bright pixels foreground: logits at half size, of 32x32 pixels."""

    def __init__(self, channels: int = 2, dtype: type[np.generic] = np.uint8):
        self.input = TensorSpec("in", (1, 32, 32, 3), np.uint8, 1 / 255, 0)
        self.output = TensorSpec("out", (1, 16, 16, channels), dtype, 0.1 * (dtype != np.float32), 0)
        self.runs = 0

    def run(self, tensor: np.ndarray) -> np.ndarray:
        self.runs += 1
        bright = cv2.resize(np.ascontiguousarray(tensor[0, ..., 0]), (16, 16), interpolation=cv2.INTER_AREA)
        planes: Sequence[np.ndarray] = [bright] if self.output.shape[3] == 1 else [np.full_like(bright, 100), bright]
        stored = np.dstack(planes).astype(self.output.dtype)
        return stored[np.newaxis]


def segmenter(backend: Brightness) -> Segmenter:
    card = ModelCard("bright", make_classes(("background", "light")), (32, 32), scale=1 / 255, output="logits")
    return Segmenter.from_backend(backend, card)


def photo(shape_hw: tuple[int, int], *squares: tuple[int, int, int]) -> np.ndarray:
    """Bright squares (left, top, side) in the dark."""
    frame = np.zeros((*shape_hw, 3), np.uint8)
    for left, top, side in squares:
        frame[top : top + side, left : left + side] = 250
    return frame


def overlap(result: Segmentation, frame: np.ndarray) -> float:
    found, truth = result.labels > 0, frame[..., 0] > 100
    return 2 * np.count_nonzero(found & truth) / max(np.count_nonzero(found) + np.count_nonzero(truth), 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("shape_hw", "runs"), [((100, 1000), 19), ((1000, 100), 19), ((100, 201), 4), ((60, 20000), 100)]
)
def test_a_long_photo_is_cut_into_square_tiles(shape_hw: tuple[int, int], runs: int, dtype: type[np.generic]) -> None:
    backend = Brightness(dtype=dtype)
    frame = photo(shape_hw, (shape_hw[1] // 2 - 20, shape_hw[0] // 2 - 20, 40))
    result = segment_tiled(segmenter(backend), frame)
    assert backend.runs == runs
    assert result.labels.shape == shape_hw
    if max(shape_hw) < 2000:
        assert overlap(result, frame) > 0.9


@pytest.mark.parametrize(
    ("shape_hw", "square", "runs"),
    [
        ((300, 400), (100, 100, 20), 13),  # large, and little in it
        ((300, 400), (100, 100, 150), 1),  # large, and much in it
        ((120, 160), (60, 60, 10), 1),  # small
    ],
)
def test_auto_uses_tiles_if_little_is_found_in_a_large_photo(
    shape_hw: tuple[int, int], square: tuple[int, int, int], runs: int
) -> None:
    backend = Brightness()
    result = segment_tiled(segmenter(backend), photo(shape_hw, square))
    assert backend.runs == runs
    assert set(result.timing_ms) == {"preprocess", "inference", "postprocess"}


def test_tiles_find_what_is_too_small_in_the_whole_photo() -> None:
    frame = photo((300, 400), *((left, top, 12) for left in range(30, 380, 60) for top in (55, 205)))
    whole = segment_tiled(segmenter(Brightness()), frame, "off")
    tiled = segment_tiled(segmenter(Brightness()), frame)
    assert overlap(whole, frame) < 0.1
    assert overlap(tiled, frame) > 0.6


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("tiles", [2, 3, 5])
def test_tiles_fit_together_without_seams(channels: int, tiles: int) -> None:
    """A slanted edge across all tiles comes out where it is."""
    x, y = np.meshgrid(np.arange(400), np.arange(300))
    frame = np.clip((x - 1.3 * y) * 4 + 100, 0, 255).astype(np.uint8)[..., np.newaxis].repeat(3, axis=2)
    backend = Brightness(channels)
    backend.output = TensorSpec("out", (1, 16, 16, channels), np.uint8, 0.1, 100 if channels == 1 else 0)
    labels = segment_tiled(segmenter(backend), frame, tiles).labels
    assert np.mean((labels > 0) == (frame[..., 0] > 100)) > 0.985


@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 50), (3, 2), (37, 91)])
@pytest.mark.parametrize("tiles", ["auto", "off", 2, 7])
def test_odd_sizes(shape_hw: tuple[int, int], tiles: str | int) -> None:
    assert segment_tiled(segmenter(Brightness()), tiny.noise(shape_hw), tiles).labels.shape == shape_hw


@pytest.mark.parametrize("tiles", ["", "Auto", 0, 1, -3, 101, 2.5, None])
def test_other_values_are_refused_with_the_right_ones(tiles: object) -> None:
    with pytest.raises(UsageError, match=r"auto, off or a number from 2 to 100"):
        segment_tiled(segmenter(Brightness()), photo((20, 20)), tiles)  # type: ignore[arg-type]


def test_a_person_in_a_panorama_is_found() -> None:
    portrait = read_photo(tiny.GRACE_HOPPER)
    frame = np.full((300, 6000, 3), (160, 140, 120), np.uint8)
    frame[:, 1900:2156] = cv2.resize(portrait, (256, 300))
    model = Segmenter("person")
    alone = model(np.ascontiguousarray(frame[:, 1900:2156])).areas["person"] * 256 / 6000
    assert segment_tiled(model, frame).areas["person"] == pytest.approx(alone, rel=0.25)
    assert segment_tiled(model, frame, "off").areas["person"] < 0.5 * alone


def test_people_in_a_large_group_photo_are_found(shared_data) -> None:
    """Street photos of whole figures, each as high as an eighth of a 12 MP street view."""
    place = sorted((shared_data / "places" / "images").iterdir())[20]
    frame = cv2.resize(cv2.imread(str(place)), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    truth = np.zeros(frame.shape[:2], bool)
    for number, path in enumerate(sorted((shared_data / "person" / "masks").glob("ccp_*"))[:40:5]):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) == 1
        person = cv2.imread(str(path.parents[1] / "images" / f"{path.stem}.jpg"))
        height, width = mask.shape
        window = (slice(1500, 1500 + height), slice(200 + 450 * number, 200 + 450 * number + width))
        frame[window][mask] = person[mask]
        truth[window] |= mask
    model = Segmenter("person")
    found = [segment_tiled(model, frame, tiles).labels > 0 for tiles in ("off", "auto")]
    whole, tiled = (2 * np.count_nonzero(f & truth) / (np.count_nonzero(f) + truth.sum()) for f in found)
    assert tiled > max(0.75, whole)
