"""The drawn person: reproducible, moving, with exact labels, found by the bundled model, at a camera's pace."""

import threading
import time
from itertools import islice

import cv2
import numpy as np
import pytest

from seg_edge import Segmenter
from seg_edge.errors import SourceError
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.synthetic import NOISE, SyntheticSource


def open_source(
    size_wh: tuple[int, int] | None = None, fps: float | None = None, live: bool = False
) -> SyntheticSource:
    return SyntheticSource(SourceRequest("synthetic", (256, 256), size_wh, fps, live))


@pytest.fixture(scope="module")
def source() -> SyntheticSource:
    return open_source()


def test_its_description_says_that_it_is_not_a_camera(source: SyntheticSource) -> None:
    assert source.info.description == "synthetic moving person (drawn, no camera), 640x480 at 30 fps"
    assert (source.info.size_wh, source.info.fps) == ((640, 480), 30)
    assert source.info.frames is None
    assert source.info.endless
    other = open_source((320, 240), 12.5)
    assert other.info.description.endswith("320x240 at 12.5 fps")


@pytest.mark.parametrize("index", [0, 130, 560])
def test_the_corner_says_synthetic(source: SyntheticSource, index: int) -> None:
    corner = source.frame(index)[-24:, :70].astype(int)
    assert (corner > np.median(corner) + 50).any(axis=2).sum() > 60


@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720), (480, 640), (64, 64), (333, 111)])
def test_frames_and_labels_of_any_size(size_wh: tuple[int, int]) -> None:
    source = open_source(size_wh)
    for source_frame in islice(source, 3):
        assert source_frame.frame.shape == (size_wh[1], size_wh[0], 3)
        assert source_frame.frame.dtype == np.uint8
        assert source_frame.small is None
        assert 0 <= time.monotonic() - source_frame.captured < 60
    truth = source.truth(2)
    assert truth.shape == (size_wh[1], size_wh[0])
    assert truth.dtype == np.uint8
    assert set(np.unique(truth)) == {0, 1}


def test_a_frame_depends_on_its_number_alone(source: SyntheticSource) -> None:
    again = open_source()
    for index, source_frame in enumerate(islice(open_source(), 4)):
        np.testing.assert_array_equal(source_frame.frame, again.frame(index))
        np.testing.assert_array_equal(source_frame.frame, source.frame(index))
    assert not np.array_equal(source.frame(0), source.frame(1))


def test_a_frame_belongs_to_the_reader() -> None:
    source = open_source()
    before = source.frame(5)
    source.frame(5)[:] = 0
    np.testing.assert_array_equal(source.frame(5), before)


def test_only_the_person_moves(source: SyntheticSource) -> None:
    """Outside both outlines, grown by the drawing's soft edges, only the sensor noise differs."""
    for first, second in ((0, 1), (60, 75), (300, 560)):
        person = cv2.dilate(source.truth(first) | source.truth(second), np.ones((9, 9), np.uint8)) > 0
        change = np.abs(source.frame(first).astype(int) - source.frame(second))
        assert change[~person].max() <= NOISE
        assert change[~person].max() > 0
        assert change[person].max() > 5 * NOISE


def test_the_person_waves_walks_out_and_comes_back(source: SyntheticSource) -> None:
    shares = [source.truth(second * 30).mean() for second in range(24)]
    assert shares[0] > 0.2
    assert min(shares) == 0
    assert shares[-1] > 0.2
    assert 2 <= sum(share < 0.02 for share in shares) <= 6
    hand = [np.argwhere(source.truth(index)[:, 560:])[:, 0].min(initial=480) for index in range(90, 180, 6)]
    assert min(hand) < 300 < max(hand) + 60


def test_the_bundled_model_finds_the_person(source: SyntheticSource) -> None:
    segment = Segmenter("person", threads=1)
    dices = []
    for index in range(0, 720, 36):
        truth = source.truth(index)
        if truth.mean() > 0.05:
            found = segment(source.frame(index)).labels > 0
            dices.append(2 * np.sum(found & (truth > 0)) / (np.sum(found) + np.sum(truth)))
    assert len(dices) >= 12
    assert np.mean(dices) >= 0.9
    assert min(dices) >= 0.8


@pytest.mark.parametrize("size_wh", [(0, 480), (640, -1), (63, 480), (640, 5000)])
def test_a_size_that_cant_be_drawn_is_refused(size_wh: tuple[int, int]) -> None:
    with pytest.raises(SourceError, match=f"^synthetic: a picture of {size_wh[0]}x{size_wh[1]} .*64 to 4096"):
        open_source(size_wh)


@pytest.mark.parametrize("fps", [0.0, -1.0, 1e6, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(fps: float) -> None:
    with pytest.raises(SourceError, match=r"^synthetic: .*frames a second.*up to 1000"):
        open_source(fps=fps)


def test_live_frames_keep_their_pace() -> None:
    captured = [source_frame.captured for source_frame in islice(open_source((160, 120), 50, live=True), 11)]
    assert captured[-1] - captured[0] >= 10 / 50 - 0.02


def test_frames_that_a_slow_reader_missed_do_not_come_in_a_burst() -> None:
    source = open_source((160, 120), 50, live=True)
    source_frames = iter(source)
    np.testing.assert_array_equal(next(source_frames).frame, source.frame(0))
    time.sleep(0.3)
    late = next(source_frames)
    assert not any(np.array_equal(late.frame, source.frame(index)) for index in range(14))
    after = next(source_frames), next(source_frames)
    assert after[1].captured - late.captured >= 1 / 50


def test_frames_that_are_not_live_come_as_fast_as_they_are_read_and_none_is_missed() -> None:
    source = open_source((160, 120), 0.01)
    source_frames = iter(source)
    next(source_frames)
    time.sleep(0.05)
    np.testing.assert_array_equal(next(source_frames).frame, source.frame(1))


def test_close_ends_it_even_while_it_waits_for_the_next_frame() -> None:
    source = open_source((160, 120), 0.01, live=True)
    taken = threading.Event()

    def take() -> None:
        for _ in source:
            taken.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    assert taken.wait(10)
    source.close()
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert list(source) == []
