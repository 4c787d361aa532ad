"""Small regions and holes leave the label map, and nothing else does."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge import Segmenter, read_photo
from seg_edge.interpreter import TensorSpec
from seg_edge.postprocess import ScoreMap
from seg_edge.specks import without_specks
from tests.tiny import TWO_UINT8, carded

PORTRAIT = Path(__file__).resolve().parents[1] / "data/grace_hopper.jpg"


def drawn(*rows: str) -> np.ndarray:
    return np.array([[int(cell) for cell in row] for row in rows], np.uint8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(("00000", "01100", "00000"), ("00000", "00000", "00000"), id="a scrap"),
        pytest.param(("00000", "01110", "00000"), ("00000", "01110", "00000"), id="three stay"),
        pytest.param(("01000", "00100", "00010"), ("01000", "00100", "00010"), id="corner to corner is one region"),
        pytest.param(("1111", "1011", "1101", "1111"), ("1111",) * 4, id="two holes that touch at a corner"),
        pytest.param(("1100", "1100", "1100"), ("1100", "1100", "1100"), id="both large"),
        pytest.param(("1110", "1111", "1111"), ("1111",) * 3, id="a hole at the rim"),
        pytest.param(
            ("11111", "10001", "10101", "10001", "11111"),
            ("11111", *["10001"] * 3, "11111"),
            id="a scrap in a large hole",
        ),
        pytest.param(("0000", "2220", "2120", "2220"), ("0000", "2220", "2220", "2220"), id="what most sides face"),
        pytest.param(("2200", "2100", "2200"), ("2200", "2200", "2200"), id="three of four sides"),
        pytest.param(("11", "11"), ("11", "11"), id="all of the map"),
        pytest.param(("1",), ("1",), id="a pixel"),
    ],
)
def test_maps_worked_out_by_hand(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    labels = drawn(*before)
    np.testing.assert_array_equal(without_specks(labels, 3), drawn(*after))
    np.testing.assert_array_equal(labels, drawn(*before))  # the given map is unchanged


def score_map(labels: np.ndarray, channels: int, dtype: type[np.generic], specks: int) -> ScoreMap:
    """Scores that just give these labels."""
    stored = np.full((*labels.shape, channels), 100, dtype)
    if channels == 1:
        stored[..., 0] = np.where(labels, 101, 100)
    else:
        np.put_along_axis(stored, labels[..., np.newaxis].astype(np.intp), 101, axis=2)
    spec = TensorSpec("out", (1, *stored.shape), dtype, *((0.1, 100) if dtype != np.float32 else (0.0, 0)))
    return ScoreMap(stored - (100 if dtype == np.float32 else 0), spec, "logits", specks)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (2, np.uint8), (2, np.float32), (3, np.int8)])
def test_a_label_map_has_no_specks_at_any_size(channels: int, dtype: type[np.generic]) -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[5:15, 8:22] = 1
    labels[9, 12:14] = labels[2, 3] = labels[18, 28] = 0
    labels[2, 3] = labels[17, 25] = 1
    kept = score_map(labels, channels, dtype, 0).labels((200, 300))
    result = score_map(labels, channels, dtype, 4).labels((200, 300))
    assert [cv2.connectedComponents(picture)[0] - 1 for picture in (kept, result)] == [3, 1]
    assert (result[50:150, 80:220] == 0).sum() < 500  # the corners that resizing rounds; the hole was 200
    assert result[95, 130] == 1


def test_probabilities_are_the_models_own() -> None:
    labels = drawn("0000", "0100", "0000")
    with_specks, without = (score_map(labels, 2, np.uint8, least) for least in (0, 4))
    assert not without.labels((3, 4)).any()
    np.testing.assert_array_equal(with_specks.probabilities((30, 40)), without.probabilities((30, 40)))


def test_the_card_gives_the_size_of_specks(tmp_path: Path) -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[4:7, 4:7] = frame[14:30, 14:30] = 255
    for specks, found in ((0, True), (10, False)):
        folder = tmp_path / str(specks)
        folder.mkdir()
        labels = Segmenter(carded(TWO_UINT8, folder, specks=specks), 1)(frame).labels
        assert bool(labels[5, 5]) == found
        assert labels[20, 20]


@pytest.mark.parametrize("model", ["person", "person-fast", "person-fine"])
def test_a_portrait_is_one_piece(model: str) -> None:
    """Scraps of the flag in the background aren't people, and bits of sky in her hat aren't holes."""
    segmenter = Segmenter(model, threads=1)
    labels = segmenter(read_photo(PORTRAIT)).labels
    _, height, width, _ = segmenter.backend.output.shape
    specks = segmenter.card.specks * labels.size / (height * width)
    for of_class in (labels, 1 - labels):
        areas = cv2.connectedComponentsWithStats(of_class)[2][1:, cv2.CC_STAT_AREA]
        assert areas.min() > specks / 2 > 0
