"""Photos through a Segmenter in order, in constant memory, each failure its own."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge import Segmentation, Segmenter
from seg_edge.apps.image import ImageOptions, is_result, segment_photos
from seg_edge.effects import EffectSettings
from tests.tiny import TWO_UINT8, bright_square, carded


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return Segmenter(carded(TWO_UINT8, tmp_path), threads=1)


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return path


def test_a_photo_becomes_what_was_wanted_at_its_own_size(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "in" / "square.png", bright_square((64, 96)))
    (result,) = segment_photos(
        [photo], segmenter, ImageOptions(EffectSettings("cutout"), out=tmp_path / "new" / "out", labels=True)
    )
    assert result.error == ""
    assert result.size_wh == (96, 64)
    assert result.areas["bright"] == pytest.approx(0.25, abs=0.03)
    assert {kind: path.name for kind, path in result.outputs.items()} == {
        "cutout": "square.cutout.png",
        "labels": "square.labels.png",
    }
    labels = cv2.imread(str(result.outputs["labels"]), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (64, 96)
    assert labels.dtype == np.uint8
    assert labels.mean() == pytest.approx(result.areas["bright"])
    assert cv2.imread(str(result.outputs["cutout"]), cv2.IMREAD_UNCHANGED).shape == (64, 96, 4)
    stages = ("decode", "preprocess", "inference", "postprocess", "render")
    assert result.timing_ms["total"] == pytest.approx(sum(result.timing_ms[stage] for stage in stages))


def test_failures_are_each_photo_s_own_and_order_is_kept(segmenter: Segmenter, tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{index}.png", bright_square()) for index in range(6)]
    photos[1].write_text("not a photo")
    photos[4].unlink()
    results = list(segment_photos(photos, segmenter, ImageOptions(out=tmp_path / "out")))
    assert [result.photo for result in results] == photos
    assert [bool(result.error) for result in results] == [False, True, False, False, True, False]
    assert "1.png" in results[1].error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{i}.overlay.jpg" for i in (0, 2, 3, 5)]


def test_results_are_not_replaced_unless_told(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", bright_square())
    earlier = tmp_path / "a.overlay.jpg"
    earlier.write_bytes(b"precious")
    (result,) = segment_photos([photo], segmenter, ImageOptions())
    assert "--force" in result.error
    assert earlier.read_bytes() == b"precious"
    (result,) = segment_photos([photo], segmenter, ImageOptions(force=True))
    assert result.error == ""
    assert cv2.imread(str(earlier)).shape == (64, 96, 3)


def test_two_photos_never_share_a_result(segmenter: Segmenter, tmp_path: Path) -> None:
    photos = [save(tmp_path / folder / "a.png", bright_square()) for folder in ("one", "two")]
    first, second = segment_photos(photos, segmenter, ImageOptions(out=tmp_path / "out", force=True))
    assert first.error == ""
    assert "rename" in second.error
    assert str(photos[0]) in second.error


def test_an_unwritable_place_leaves_nothing_behind(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", bright_square())
    occupied = tmp_path / "file"
    occupied.write_text("a file where a folder is wanted")
    (result,) = segment_photos([photo], segmenter, ImageOptions(out=occupied / "out"))
    assert "can't be written" in result.error
    assert not list(tmp_path.glob("**/.*.tmp"))


def test_a_frame_that_can_t_be_segmented_is_its_photo_s_failure(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [save(tmp_path / f"{index}.png", bright_square((40 + index, 60))) for index in range(3)]
    run = Segmenter.__call__

    def fails_once(self: Segmenter, frame: np.ndarray) -> Segmentation:
        if frame.shape[0] == 41:
            raise cv2.error("out of luck")
        return run(self, frame)

    monkeypatch.setattr(Segmenter, "__call__", fails_once)
    errors = [result.error for result in segment_photos(photos, segmenter, ImageOptions())]
    assert errors[0] == errors[2] == ""
    assert errors[1] == f"{photos[1]}: out of luck"


def test_memory_does_not_grow_with_the_number_of_photos(segmenter: Segmenter, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", np.full((600, 800, 3), 200, np.uint8))
    frame_bytes = 600 * 800 * 3

    def peak(count: int) -> int:
        copies = []
        for index in range(count):
            copy = tmp_path / f"{count}_{index}.png"
            copy.write_bytes(photo.read_bytes())
            copies.append(copy)
        tracemalloc.start()
        for result in segment_photos(copies, segmenter, ImageOptions(out=tmp_path / str(count))):
            assert result.error == ""
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(4)
    # Held, 45 photos more would be 45 frames more; what the threads have at the same moment differs by a few.
    assert peak(60) < peak(15) + 8 * frame_bytes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.overlay.jpg", True),
        ("a.b.cutout.png", True),
        ("a.labels.png", True),
        ("overlay.jpg", False),
        ("a.jpg", False),
        ("my.mask.jpg", False),
    ],
)
def test_results_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_result(Path(name)) is expected
